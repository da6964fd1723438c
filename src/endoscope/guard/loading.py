"""The probes that policies name, with the models they read."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from endoscope.artifacts import read_card
from endoscope.artifacts.hashing import hash_bytes
from endoscope.engine import Model
from endoscope.engine import open as open_model
from endoscope.errors import InputError
from endoscope.guard.policy import Language, Policy
from endoscope.guard.scoring import Scorer
from endoscope.probes import Probe
from endoscope.readouts import TokenScores

DEFAULT_MODEL = "gemma-3-270m"
_SHIPPED = files("endoscope.probes") / "shipped"


class ProbeScorer:
    """A probe with its model, as a guard uses it.

    Args:
        probe: scores tokens.
        model: what it reads.

    Raises:
        InputError: the probe scores documents.
    """

    # A window shares a quarter with the next: at least 125 characters around each token. Longer
    # windows cost more a character, for attention is quadratic.
    max_characters = 1000

    def __init__(self, probe: Probe, model: Model) -> None:
        if probe.pooling is not None:
            raise InputError(
                f"The probe {probe.name} scores documents; a guard needs one that scores tokens.",
                "Fit it on data with spans.",
            )
        self.probe = probe
        self.model = model
        card = hash_bytes(probe.card.model_dump_json().encode())
        read = model.fingerprint
        self.name = f"{probe.name} {card} on {read.digest} in {read.dtype}"
        self.labels = probe.labels
        self.thresholds: Mapping[str, float] = probe.thresholds
        # The second reading of a text has seen all of it.
        once = probe.spec.readings == 1 and model.capabilities.causal
        self.look_ahead = probe.spec.look_ahead if once else None

    def score(self, texts: Sequence[str]) -> list[TokenScores]:
        """Score every token of each text."""
        return self.probe.score(self.model, texts)

    def fits(self, text: str) -> bool:
        """Whether the model has room for all tokens of a text, at every reading."""
        room = self.model.loaded.anatomy.max_tokens
        if room is None:
            return True
        readings = self.probe.spec.readings
        room = (room - 2) // readings  # BOS, and a line break between two readings
        if 4 * len(text) <= room:  # a token holds a byte at least
            return True
        return len(self.model.tokenizer.encode(text, special=False).ids) <= room

    def __repr__(self) -> str:
        return f"ProbeScorer({self.probe!r} on {self.model!r})"


def shipped_probes() -> dict[str, Path]:
    """Return the probes that come with Endoscope: name to folder."""
    folders = Path(str(_SHIPPED)).iterdir()
    return {folder.name: folder for folder in sorted(folders) if folder.is_dir()}


def shipped_probe(policy: str, model: str) -> Path:
    """Return the folder of the probe that comes with Endoscope for a policy and a model.

    Raises:
        InputError: there is none.
    """
    probes = shipped_probes()
    folder = probes.get(f"{policy}-{model}")
    if folder is None or read_card(folder).model_name != model:
        cards = (read_card(path) for path in probes.values())
        raise InputError(
            f"No {policy} probe for the model {model} comes with Endoscope.",
            f"Models that have one: {', '.join(sorted({card.model_name for card in cards}))}. For "
            "another, fit a probe with `endoscope probe fit` and give its folder.",
        )
    return folder


def probe_folder(name: str, base: Path, model: str | None = None) -> Path:
    """Return where a probe is.

    Args:
        name: `auto`, the name of one that comes with Endoscope, or a folder.
        base: what a relative folder starts from.
        model: the model that `auto` is about.

    Raises:
        InputError: there is no such probe.
    """
    if name == "auto":
        return shipped_probe("pii", model or DEFAULT_MODEL)
    probes = shipped_probes()
    folder = probes.get(name, base / name)
    if not folder.is_dir():
        raise InputError(
            f"There is no probe {name}.",
            f"Give the folder of one, or one that comes with Endoscope: {', '.join(probes)}.",
        )
    return folder


def load_scorers(
    policy: Policy,
    model: str | None = None,
    device: str = "auto",
    probe: str | Path | None = None,
) -> dict[Language, Scorer]:
    """Open the probes that a policy names, each model once.

    A probe whose card names its languages (`details["languages"]`) reads no other.

    Args:
        policy: the policy.
        model: the model that `auto` is about, and that other probes read instead of their own.
        device: where models run.
        probe: which probe to take instead of the policy's; a folder starts from the current one.

    Raises:
        InputError: a probe or its model does not exist or does not fit.
    """
    scorers: dict[str, ProbeScorer] = {}
    models: dict[tuple[str, str | None], Model] = {}
    found: dict[Language, Scorer] = {}
    for language in ("en", "ja"):
        wanted = str(probe) if probe else policy.probe_for(language)
        if wanted is None:
            continue
        if wanted not in scorers:
            opened = Probe.load(probe_folder(wanted, Path() if probe else policy.folder, model))
            name = (model, None) if model else (opened.card.model_name, opened.card.adapter)
            if name not in models:
                models[name] = open_model(name[0], adapter=name[1], device=device, dtype="fast")
            scorers[wanted] = ProbeScorer(opened, models[name])
        scorer = scorers[wanted]
        # Without an entry the language has no scorer, and its texts are errors: a probe that cannot
        # read a language would pass all of it as clean.
        if language in languages(scorer.probe):
            found[language] = scorer
    return found


def languages(probe: Probe) -> tuple[Language, ...]:
    """Which languages a probe reads; all, if its card names none."""
    known: tuple[Language, ...] = ("en", "ja")
    named: Any = probe.card.details.get("languages", known)
    return tuple(language for language in known if language in named)
