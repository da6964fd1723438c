"""Labelled spans: tokens that differ in what the direction is of, within one text."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch

from endoscope import jsonl
from endoscope.artifacts import DataRef
from endoscope.directions.contrast import Contrast
from endoscope.directions.reading import Tokens, counting_tokens, pooled, stack
from endoscope.directions.sources.labelled import labels_of, read_documents, units_of
from endoscope.documents import NOTHING, Document, token_labels
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site


@dataclass(frozen=True, repr=False)
class LabelledSpans:
    """Texts of which spans are labelled: the tokens of one label beside those of another.

    Tokens outside all spans do not count; where all spans have one label, it is told apart from
    them. A text of which several labels are read is its own control: what it is about is in both.

    Attributes:
        name: what people call them.
        sha256: of the file.
        documents: in the order of the file.
        positive: the label that the direction is towards, against all others; None: the labels
            as they are, in the order of the alphabet.
        tokens: which tokens of the spans of one label count.
        path: the file that this is the whole of, if it is.
    """

    name: str
    sha256: str
    documents: tuple[Document, ...]
    positive: str | None = None
    tokens: Tokens = "mean"
    path: Path | None = None

    @classmethod
    def read_file(
        cls, path: str | Path, *, positive: str | None = None, tokens: Tokens = "mean"
    ) -> "LabelledSpans":
        """Read a file of JSON lines: `{"id", "text", "spans": [[start, end, label]][, "group"]}`.

        Raises:
            InputError: names the first line that is wrong and how to mend it, never its text.
        """
        path = Path(path)
        raw = jsonl.read_bytes(path)
        documents = read_documents(path, raw, spans=True)
        found = cls(path.name, sha256(raw).hexdigest(), documents, positive, tokens, path)
        found.labels  # noqa: B018 - refuses what cannot be told apart
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, the one that others are compared with first.

        Raises:
            InputError: no span is labelled, or none as `positive` says.
        """
        found = {span.label for document in self.documents for span in document.spans or ()}
        if len(found) == 1 and self.positive in (None, *found):
            return (NOTHING, *found)
        return labels_of(list(found), self.positive)

    @property
    def ref(self) -> DataRef:
        """What cards say about the data."""
        return DataRef(name=self.name, sha256=self.sha256, rows=len(self.documents))

    @property
    def options(self) -> dict[str, str]:
        """What a command line says beside the file."""
        said = {} if self.positive is None else {"positive": self.positive}
        return {"tokens": self.tokens, **said}

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Return a contrast at each site; a unit is a group of documents, or else a document.

        Raises:
            InputError: of a class no token is left to be read.
        """
        texts, ids = [str(d.content) for d in self.documents], [d.id for d in self.documents]
        acts = model.capture(texts, sites, ids=ids, progress=progress)
        labels, units = self.labels, units_of(self.documents)
        known = (NOTHING, *sorted({s.label for d in self.documents for s in d.spans or ()}))
        meant = torch.tensor([self._class(label, labels) for label in known])
        places: list[tuple[int, int, torch.Tensor]] = []  # unit, class, rows of the activations
        for number, document in enumerate(self.documents):
            rows = torch.arange(len(acts))[acts.rows(number)]
            classes = meant[token_labels(acts.offsets[rows], document.spans or (), known)]
            counting = counting_tokens(acts.offsets[rows])
            for one in range(len(labels)):
                chosen = rows[counting & (classes == one)]
                if len(chosen):
                    places.append((units[number], one, chosen))
        for one, label in enumerate(labels):
            if all(found != one for _, found, _ in places):
                raise InputError(f"No token of the class {label!r} is left.", "Give more text.")
        kinds = {unit: {one for other, one, _ in places if other == unit} for unit, *_ in places}
        paired = len(labels) == 2 and all(len(one) == 2 for one in kinds.values())
        contrasts = {}
        for site in sites:
            parts = [pooled(acts[site][chosen].double(), self.tokens) for *_, chosen in places]
            of_class, of_unit = [one for _, one, _ in places], [unit for unit, *_ in places]
            contrasts[site] = Contrast(*stack(parts, of_class, of_unit), labels, paired)
        return contrasts

    def _class(self, label: str, labels: Sequence[str]) -> int:
        """Return which class a label is of; -1 for what does not count."""
        if label in labels:
            return labels.index(label)
        return -1 if label == NOTHING else 0

    def __len__(self) -> int:
        return len(self.documents)

    def __repr__(self) -> str:
        return f"LabelledSpans({self.name!r}: {len(self):,} texts, {', '.join(self.labels)})"
