"""Probes: what a model represents, read from its activations."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from endoscope.activations import Activations
from endoscope.artifacts import (
    Card,
    Evidence,
    check_model,
    load_artifact,
    save_artifact,
)
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.probes.caution import cautioned
from endoscope.probes.command import command_line
from endoscope.probes.data import ProbeData
from endoscope.probes.fit import fit_activations
from endoscope.probes.labelled import check_readable, document_rows, text_documents
from endoscope.probes.metrics import document_evidence, token_evidence
from endoscope.probes.options import FitOptions, Fitted
from endoscope.probes.reading import Content, read, read_all
from endoscope.readouts import (
    Calibration,
    DocumentScores,
    FeatureSpec,
    Head,
    IncrementalScorer,
    Pooling,
    Readout,
    TokenScores,
    head_from_tensors,
)

KIND = "probe"


@dataclass(frozen=True, repr=False)
class Probe:
    """Sites → features → head → class scores → calibrated probabilities, and the evidence.

    Attributes:
        spec: which rows of activations become features.
        head: scores features.
        calibration: of token logits, or of document logits where there is a pooling.
        pooling: makes document scores from those of tokens; None for a probe of tokens.
        thresholds: for each label after the first; a label is given at or above it.
        card: what it is, and what speaks for it.

    Example:
        >>> probe = Probe.fit(model, ProbeData.read("harmful.jsonl"), sites="resid_post.12")
        >>> probe.score_documents(model, ["How do I bake bread?"])
    """

    spec: FeatureSpec
    head: Head
    calibration: Calibration
    pooling: Pooling | None
    thresholds: dict[str, float]
    card: Card

    @classmethod
    def fit(
        cls,
        model: Model,
        data: ProbeData,
        *,
        sites: str | Site | Sequence[str | Site],
        look_ahead: int = 0,
        readings: int = 1,
        head: str = "logistic",
        pooling: str | Pooling | None = None,
        held_out: ProbeData | None = None,
        negative: str | None = None,
        name: str | None = None,
        options: FitOptions | None = None,
        keep: str | Path | None = None,
        progress: bool = False,
    ) -> "Probe":
        """Fit a probe on labelled documents.

        Documents are split by group and label: 70% to fit on, 15% to choose the penalty, calibrate
        and set thresholds on, 15% to measure on. With `held_out` all but 15% is fitted on.

        Args:
            model: whose activations are read.
            data: spans make a probe of tokens, labels one of documents.
            sites: such as `"resid_post.9,resid_post.12"`.
            look_ahead: following tokens to use; the latency of streamed scores.
            readings: 2 to read the text twice; such a probe cannot stream.
            head: `logistic`, `mass_mean` or `attention` (documents only).
            pooling: of document probes, such as `mean` or `top_k_mean:8`. If left out, `max` for
                the attention head, which pools over windows, else `mean`.
            held_out: other data to measure on.
            negative: the document label that means "nothing"; the most frequent if left out.
            name: on the card; the name of the data if left out.
            options: how to fit; `head` here wins over the one there.
            keep: a folder to keep the activations in (bfloat16), so that reading goes on where it
                was cut off, and fitting again does not read again. Without it they are held in
                memory; the probe is the same.
            progress: show a bar.

        Raises:
            InputError: sites, labels or options that do not fit the model or the data, or a
                document to judge of which the model's vocabulary can say nothing.
        """
        _check_kinds(model, data)
        options = replace(options or FitOptions(), head=head)
        spec = FeatureSpec(sites, look_ahead, readings)  # type: ignore[arg-type]  # parses text
        pools = _pooling(data, pooling, head)
        labels = data.labels(negative)
        shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
        if held_out is not None:
            _check_level(held_out, data.level)
            held_out.check_labels(labels)
            shares = {"train": 0.85, "validation": 0.15}
        parts = data.split(shares, seed=options.seed)
        if held_out is None and not parts["test"]:
            raise InputError(f"{data.name} is too small to keep documents for testing.")

        acts = read_all(model, data, spec, keep=keep, progress=progress)
        if pools:
            check_readable(acts, range(len(data)))
        classes = data.classes(labels) if pools else data.token_classes(acts, labels)
        fitted = fit_activations(
            acts,
            classes,
            labels,
            spec,
            train=parts["train"],
            validation=parts["validation"],
            pooling=pools,
            options=options,
        )
        card = Card(
            kind=KIND,
            name=name or Path(data.name).stem,
            model=model.fingerprint,
            model_name=model.name,
            adapter=model.adapter,
            data=data.ref,
            command=command_line(model, data, spec, pools, options, negative, held_out),
            seed=options.seed,
            details={
                "causal": model.capabilities.causal,
                "penalty": fitted.penalty,
                "fpr": options.fpr,
                "options": {**asdict(options), "penalties": list(options.penalties)},
            },
        )
        probe = cls.make(fitted, spec, pools, card)
        if held_out is None:
            test = data.take(parts["test"], "test")
            evidence = probe.evidence_on(
                test, (acts.document(document) for document in parts["test"])
            )
        else:
            evidence = probe.evaluate(model, held_out, keep=keep, progress=progress)
        return probe.with_evidence(evidence)

    @classmethod
    def make(
        cls, fitted: Fitted, spec: FeatureSpec, pooling: Pooling | None, card: Card
    ) -> "Probe":
        """Make a probe of what `fit_activations` gave; the card gets the settings added.

        The model counts as causal unless the card's details say `causal: False`.
        """
        streams = spec.readings == 1 and card.details.get("causal", True)
        details: dict[str, Any] = {
            **card.details,
            "level": "document" if pooling else "token",
            "look_ahead": spec.look_ahead,
            "latency_tokens": spec.look_ahead if streams else None,
            "readings": spec.readings,
            "head": fitted.head.config(),
            "pooling": str(pooling) if pooling else None,
            "calibration": {
                "scale": list(fitted.calibration.scale),
                "shift": list(fitted.calibration.shift),
            },
            "thresholds": fitted.thresholds,
        }
        card = card.model_copy(update={"details": details, "sites": tuple(map(str, spec.sites))})
        return cls(spec, fitted.head, fitted.calibration, pooling, fitted.thresholds, card)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; the first means "nothing here"."""
        return self.head.labels

    @property
    def causal(self) -> bool:
        """Whether its model sees of a text only what is before a token."""
        return bool(self.card.details.get("causal", True))  # older cards are all of causal models

    @property
    def name(self) -> str:
        """What people call it."""
        return self.card.name

    def score(
        self, model: Model, texts: Sequence[Content], *, progress: bool = False
    ) -> list[TokenScores]:
        """Return the scores of the tokens of each text, in order.

        Raises:
            InputError: the model is foreign to the probe. (A derived one gives a warning.)
        """
        return [self.score_activations(acts) for acts in self._read(model, texts, progress)]

    def score_documents(
        self, model: Model, texts: Sequence[Content], *, progress: bool = False
    ) -> DocumentScores:
        """Return the probabilities of each text, `[documents, labels]`, and the labels.

        Raises:
            InputError: this is a probe of tokens, a text has no tokens (it is named by its
                number, from 0), or the model is foreign.
        """
        if self.pooling is None:
            raise InputError(f"The probe {self.name} scores tokens, not documents.", "Use score().")
        scores = [self._score_document(acts) for acts in self._read(model, texts, progress)]
        probabilities = torch.stack(scores) if scores else torch.zeros(0, len(self.labels))
        return DocumentScores(probabilities, self.labels)

    @property
    def readout(self) -> Readout:
        """The probe without its evidence, as requests and gates carry it.

        Raises:
            InputError: the model of the probe reads text as a whole.
        """
        if not self.causal:
            raise InputError(
                f"The model of the probe {self.name} reads text as a whole, so it cannot score a "
                "stream.",
                "Score finished text with it, or fit a probe on a causal model.",
            )
        return Readout(self.spec, self.head, self.calibration, self.pooling)

    def stream(self) -> IncrementalScorer:
        """Return a scorer that takes rows as they are decoded.

        Raises:
            InputError: the probe reads the text twice, or its model sees what follows a token;
                neither can be had of a stream.
        """
        return self.readout.stream()

    def evaluate(
        self,
        model: Model,
        data: ProbeData,
        *,
        keep: str | Path | None = None,
        progress: bool = False,
    ) -> list[Evidence]:
        """Measure the probe on labelled documents, with 95% intervals over documents.

        A note says so where there are few documents of a label, or the probe was fitted on them.

        Args:
            model: whose activations are read.
            data: with the labels, or the spans, that the probe knows.
            keep: a folder to keep the activations in, as for `fit`. They are rounded to bfloat16,
                which moves probabilities a little (docs/probes.md).
            progress: show a bar.

        Raises:
            InputError: the data has other labels or is of another kind, a document to judge has
                no tokens, or the model is foreign.
        """
        _check_kinds(model, data)
        _check_level(data, "document" if self.pooling else "token")
        data.check_labels(self.labels)
        if keep is None:
            return self.evidence_on(data, self._read(model, data.contents, progress, data.ids))
        self._check(model)
        acts = read_all(model, data, self.spec, keep=keep, progress=progress)
        return self.evidence_on(data, map(acts.document, range(len(data))))

    def with_evidence(self, evidence: Sequence[Evidence]) -> "Probe":
        """Return the same probe with this evidence on its card."""
        return replace(self, card=self.card.model_copy(update={"evidence": tuple(evidence)}))

    def save(self, folder: str | Path) -> Card:
        """Save the probe, whole or not at all, and return its card.

        Raises:
            InputError: the disk is full, or something else than a probe is there.
        """
        return save_artifact(folder, self.card, self.head.tensors())

    @classmethod
    def load(cls, folder: str | Path) -> "Probe":
        """Load a probe.

        Raises:
            InputError: there is none, or it is damaged or of another version; says what to do.
        """
        card, tensors = load_artifact(folder, KIND)
        details: Any = card.details
        try:
            head = head_from_tensors(details["head"], tensors)
            spec = FeatureSpec(card.sites, details["look_ahead"], details["readings"])  # type: ignore[arg-type]
            pooling = Pooling.parse(details["pooling"]) if details["pooling"] else None
            calibration = Calibration(
                tuple(details["calibration"]["scale"]), tuple(details["calibration"]["shift"])
            )
            thresholds = {label: float(details["thresholds"][label]) for label in head.labels[1:]}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"The card of {folder} lacks settings of a probe ({type(error).__name__}).",
                f"Make it again: {card.command}",
            ) from error
        return cls(spec, head, calibration, pooling, thresholds, card)

    def _read(
        self,
        model: Model,
        texts: Sequence[Content],
        progress: bool,
        ids: Sequence[str] | None = None,
    ) -> Iterator[Activations]:
        self._check(model)
        return read(model, texts, self.spec, ids=ids, progress=progress)

    def _check(self, model: Model) -> None:
        check_model(self.card.model, model.fingerprint, f"The probe {self.name}")
        width = self.spec.width(model.d_model)
        if width != self.head.n_features:
            raise InputError(
                f"The probe {self.name} takes {self.head.n_features} features; this model gives "
                f"{width}.",
                "Open the model that it was made with.",
            )

    def _logits(self, acts: Activations) -> tuple[Tensor, Tensor]:
        """Return offsets and logits of the tokens of one document."""
        documents = text_documents(acts)
        rows = document_rows(acts, documents, 0)
        features = self.spec.at(acts.values, documents, rows)
        return acts.offsets[rows].cpu(), self.head(features).cpu()

    def score_activations(self, acts: Activations) -> TokenScores:
        """Return the scores of the tokens of one document that was captured already."""
        offsets, logits = self._logits(acts)
        return TokenScores(offsets, self.calibration.probabilities(logits), self.labels)

    def _score_document(self, acts: Activations) -> Tensor:
        assert self.pooling is not None
        check_readable(acts, [0])
        return self.calibration.probabilities(self.pooling(self._logits(acts)[1]))

    def evidence_on(self, data: ProbeData, activations: Iterable[Activations]) -> list[Evidence]:
        """Measure the probe on labelled documents that were captured already, one by one."""
        fpr = float(self.card.details.get("fpr", 0.01))  # type: ignore[arg-type]
        if self.pooling is None:
            scores = [self.score_activations(acts) for acts in activations]
            evidence = token_evidence(data, scores)
        else:
            probabilities = torch.stack([self._score_document(acts) for acts in activations])
            evidence = document_evidence(data, probabilities, self.labels, self.thresholds, fpr=fpr)
        return cautioned(evidence, data, self.labels, self.card.data, fpr)

    def __repr__(self) -> str:
        what = f"document probe, {self.pooling} pooling" if self.pooling else "token probe"
        latency = f"latency {self.spec.look_ahead} tokens"
        if not self.causal:
            latency = "reads the text as a whole"
        if self.spec.readings == 2:
            latency = "reads the text twice"
        lines = [
            f"Probe({self.name!r}: {what}, {self.head.kind} head, {latency})",
            f"  labels    {', '.join(self.labels)}",
            f"  sites     {', '.join(map(str, self.spec.sites))} of {self.card.model_name}",
        ]
        lines += [
            f"  {'' if i else 'evidence':<8}  {figure}"
            for i, figure in enumerate(e for e in self.card.evidence if e.label is None)
        ]
        return "\n".join(lines)


def _pooling(data: ProbeData, pooling: str | Pooling | None, head: str) -> Pooling | None:
    if data.level == "token":
        if pooling is not None:
            raise InputError("Spans are scored token by token.", "Leave the pooling out.")
        return None
    return Pooling.parse(pooling or ("max" if head == "attention" else "mean"))


def _check_kinds(model: object, data: object) -> None:
    if not isinstance(model, Model):
        raise InputError("The first argument is a model.", "Open one: endoscope.open(name).")
    if not isinstance(data, ProbeData):
        raise InputError("The data is no ProbeData.", "Read the file: ProbeData.read(path).")


def _check_level(data: ProbeData, level: str) -> None:
    if data.level != level:
        wanted = {"token": "spans", "document": "labels"}[level]
        raise InputError(f"{data.name} has no {wanted}, which this probe is about.")
