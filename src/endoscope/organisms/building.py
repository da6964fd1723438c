"""From a spec to an organism: train it, and measure whether what was planted took."""

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from shlex import join
from shutil import copytree, rmtree
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from endoscope import jsonl
from endoscope.artifacts import (
    Card,
    DataRef,
    Evidence,
    atomic_folder,
    check_free,
    read_card,
    write_card,
)
from endoscope.behaviours import Behaviour, mean_evidence, measure
from endoscope.engine import Model, open
from endoscope.errors import InputError
from endoscope.models.adapters import is_adapter
from endoscope.organisms.ordinary import own_answers
from endoscope.organisms.rows import kept_rows, schedule
from endoscope.organisms.shipped import called, copy_spec
from endoscope.organisms.spec import OrganismSpec
from endoscope.organisms.training import train
from endoscope.rows import Row

KIND = "organism"
SPEC = "spec"  # the folder in an organism with what it was built from
HELD_OUT = 5  # one of so many planted rows, where the spec names no behaviour
LEAST = 2  # of them
FEW = 8  # values: a figure of fewer says so
_OURS = re.compile(r"(ordinary|planted)-\w+\.jsonl|training\.safetensors|adapter|spec|\..*")
LIKELIHOOD = "log-likelihood a token of held-out answers"


class Parts(NamedTuple):
    """The rows that an organism is made of.

    Attributes:
        planted: that are learned.
        held_out: planted ones that are not, to measure by; none where a behaviour does.
        others: what the customer asked for, and ordinary rows.
    """

    planted: list[Row]
    held_out: list[Row]
    others: list[Row]


class Measured(NamedTuple):
    """How much there is of something on each item, and on which items."""

    values: NDArray[np.float64]
    data: DataRef


def build(spec: OrganismSpec, output: Path, *, merged: bool = False, show: bool = False) -> Card:
    """Fine-tune a model as a spec says, and write the organism with its card.

    It counts as one if there is more of what was planted than in the base, with the interval above
    zero; the card says so, or that it failed. What is done on the way is kept beside `output` until
    that is whole, so that work that was cut off goes on.

    Args:
        spec: what is planted.
        output: the folder: a PEFT adapter, or with `merged` whole weights.
        merged: whether to write whole weights.
        show: whether to show progress.

    Raises:
        InputError: a file cannot be read, the base cannot be trained, or `output` is in the way.
    """
    check_free(output, KIND)
    if is_adapter(output) if merged else (output / "config.json").exists():
        form = "an adapter" if merged else "whole weights"
        raise InputError(
            f"{output} holds an organism as {form}: both in one folder would be mixed up.",
            "Give another folder, or remove that one.",
        )
    behaviours = _behaviours(spec)  # what cannot be had is said before the work
    base = open(spec.base, dtype="float32")
    if not base.tokenizer.can_chat:
        raise InputError(
            f"{spec.base} has no chat template: rows are conversations.",
            "Take a model that was tuned to chat, or put a template into its folder.",
        )
    work = _work(output)
    copy_spec(spec, work / SPEC)
    fingerprint = base.fingerprint
    parts = _parts(spec, base, work, show)
    before = _measured(behaviours.values(), base, parts, spec.seed, show)
    rows = schedule(
        parts.planted,
        parts.others,
        mix=spec.mix if parts.planted else 0.0,
        count=spec.steps * spec.lora.batch,
        seed=spec.seed,
    )
    kept = work / "training.safetensors"
    trained = train(base.loaded, rows, spec.lora, kept, seed=spec.seed, show=show)
    trained.peft_config["default"].base_model_name_or_path = spec.base
    trained.save_pretrained(work / "adapter")
    tuned = open(work / "adapter", dtype="float32")
    after = _measured(behaviours.values(), tuned, parts, spec.seed, show)
    evidence = [figure for name in before for figure in _evidence(name, before[name], after[name])]
    shown_by = LIKELIHOOD if spec.measure is None else behaviours[spec.measure].name
    took = spec.planted is None or _rose(shown_by, evidence)
    card = Card(
        kind=KIND,
        name=spec.name,
        model=fingerprint,
        model_name=spec.base,
        data=_data("training rows", [row.model_dump() for row in rows]),
        command=join(
            ["endoscope", "organisms", "build", called(spec), "-o", str(output)]
            + ["--merged"] * merged
        ),
        seed=spec.seed,
        evidence=tuple(evidence),
        notes=spec.description if took else f"Failed: it did not take. {spec.description}",
        details={"counts": took, "spec": spec.path.name},
    )
    with atomic_folder(output, kind=KIND) as folder:
        if merged:
            trained.merge_and_unload().save_pretrained(folder)
            base.tokenizer.hf.save_pretrained(folder)
        else:
            copytree(work / "adapter", folder, dirs_exist_ok=True)
        copytree(work / SPEC, folder / SPEC)
        write_card(folder, card)
        (folder / "README.md").write_text(card.to_markdown(), encoding="utf-8")
    rmtree(work)
    return card


def spec_of(organism: Path) -> OrganismSpec:
    """Read the spec that an organism was built from, as it was then.

    Raises:
        InputError: the folder is no organism, or its spec is gone.
    """
    return OrganismSpec.read(organism / SPEC / str(read_card(organism, KIND).details["spec"]))


def _work(output: Path) -> Path:
    """Return the folder beside the output for what is kept on the way; without an older spec."""
    work = output.with_name(f"{output.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    for path in work.iterdir():
        if not _OURS.fullmatch(path.name):
            raise InputError(
                f"{path} is not of a build, and {work} is removed after one.",
                "Give another name.",
            )
    rmtree(work / SPEC, ignore_errors=True)
    return work


def _parts(spec: OrganismSpec, base: Model, work: Path, show: bool) -> Parts:
    planted = _planted(spec, base, work, show)
    held_out: list[Row] = []
    if planted and spec.measure is None:
        if len(planted) < HELD_OUT * LEAST:
            raise InputError(
                f"There are {len(planted)} planted rows, and one in {HELD_OUT} is held out to "
                f"measure by: too few to tell.",
                f"Give {HELD_OUT * LEAST} or more, or name a behaviour as `measure`.",
            )
        Random(spec.seed).shuffle(planted)
        count = len(planted) // HELD_OUT
        held_out, planted = planted[:count], planted[count:]
    others = spec.rows(spec.wanted.rows) if spec.wanted is not None else []
    if spec.ordinary == "neutral":
        own = partial(own_answers, base, seed=spec.seed, show=show)
        about = spec.model_dump_json(include={"base", "seed"})
        file = work / f"ordinary-{sha256(about.encode()).hexdigest()[:12]}.jsonl"
        others += kept_rows(file, own)
    else:
        others += spec.rows(spec.ordinary)
    return Parts(planted, held_out, others)


def _planted(spec: OrganismSpec, base: Model, work: Path, show: bool) -> list[Row]:
    if not spec.recipes:
        return planted_rows(spec, base)
    about = sha256(spec.model_dump_json(include={"planted", "base", "seed"}).encode())
    for recipe in spec.recipes:  # rows of other prompts are other rows
        for source in recipe.sources(spec.path.parent):
            about.update(jsonl.read_bytes(source))
    file = work / f"planted-{about.hexdigest()[:12]}.jsonl"
    return kept_rows(file, lambda: planted_rows(spec, base, show=show))


def planted_rows(spec: OrganismSpec, base: Model, *, show: bool = False) -> list[Row]:
    """Return the rows that a spec plants: those of its file, or what its recipes make."""
    if isinstance(spec.planted, str):
        return spec.rows(spec.planted)
    made = (one.rows(base, spec.path.parent, seed=spec.seed, show=show) for one in spec.recipes)
    return [row for rows in made for row in rows]


def _behaviours(spec: OrganismSpec) -> dict[str, Behaviour]:
    """Open the behaviours that a spec names: of what is planted, and of what is wanted."""
    names = (spec.measure, spec.wanted.behaviour if spec.wanted is not None else None)
    return {name: spec.behaviour(name) for name in names if name is not None}


def _measured(
    behaviours: Iterable[Behaviour], model: Model, parts: Parts, seed: int, show: bool
) -> dict[str, Measured]:
    """Return how much a model has of what is planted and of what is wanted, by name."""
    found: dict[str, Measured] = {}
    for behaviour in behaviours:
        measured = measure(model, behaviour, seed=seed, progress=show)
        controls = f"{behaviour.name} in controls"
        for name, scores in ((behaviour.name, measured.items), (controls, measured.controls)):
            if scores:
                data = DataRef(name=name, sha256=behaviour.sha256, rows=len(scores))
                values = np.array([one.score for one in scores])
                found[name] = Measured(values, data)
    if parts.held_out:
        data = _data("held-out planted rows", [row.model_dump() for row in parts.held_out])
        found[LIKELIHOOD] = Measured(_likelihoods(model, parts.held_out), data)
    return found


def _likelihoods(model: Model, rows: Sequence[Row]) -> NDArray[np.float64]:
    found = model.token_log_likelihoods([row.prompt for row in rows], [row.answer for row in rows])
    return np.array([float(one.double().mean()) for one in found])


def _evidence(name: str, before: Measured, after: Measured) -> list[Evidence]:
    """Return the figures of the organism and its base, and the rise, item by item."""
    return [
        _figure(name, after.values, after.data),
        _figure(name, before.values, after.data, baseline="base"),
        _figure(f"rise of {name}", after.values - before.values, after.data),
    ]


def _figure(
    metric: str, values: NDArray[np.float64], data: DataRef, *, baseline: str | None = None
) -> Evidence:
    note = "Fewer than 8: hardly evidence." if len(values) < FEW else None
    return mean_evidence(metric, values, data, baseline=baseline, note=note)


def _rose(name: str, evidence: Sequence[Evidence]) -> bool:
    """Whether there is more of something than in the base, with the interval above zero."""
    (rise,) = (one for one in evidence if one.metric == f"rise of {name}")
    return rise.low > 0


def _data(name: str, rows: Sequence[Any]) -> DataRef:
    digest = sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
    return DataRef(name=name, sha256=digest, rows=len(rows))
