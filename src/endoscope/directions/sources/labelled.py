"""Labelled texts, and activations that were read before."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from torch import Tensor

from endoscope import jsonl
from endoscope.activations import Activations
from endoscope.artifacts import DataRef, check_model
from endoscope.directions.contrast import Contrast
from endoscope.directions.reading import Tokens, document_rows, stack
from endoscope.documents import Document, parse_document
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site


@dataclass(frozen=True, repr=False)
class LabelledDocuments:
    """Documents in which something is labelled: what sources of them have in common.

    Attributes:
        name: what people call them.
        sha256: of the file.
        documents: in the order of the file.
        positive: the label that the direction is towards, against all others; None: the labels
            as they are, in the order of the alphabet.
        tokens: which tokens of what is labelled count.
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
    ) -> Self:
        """Read a file of JSON lines.

        Raises:
            InputError: names the first line that is wrong and how to mend it, never its text.
        """
        path = Path(path)
        raw = jsonl.read_bytes(path)
        documents: dict[str, Document] = {}
        for number, line in jsonl.numbered(raw):
            with jsonl.on_line(path, number):
                document = parse_document(line)
                cls._check(document)
                if document.id in documents:
                    raise InputError("the id was used before.", "Rename it.")
                documents[document.id] = document
        found = cls(
            path.name, sha256(raw).hexdigest(), tuple(documents.values()), positive, tokens, path
        )
        found.labels  # noqa: B018 - refuses what cannot be told apart
        return found

    @staticmethod
    def _check(document: Document) -> None:
        """Refuse a document that is labelled otherwise."""
        raise NotImplementedError

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, the one that others are compared with first.

        Raises:
            InputError: there is only one, or none is called `positive`.
        """
        raise NotImplementedError

    @property
    def ref(self) -> DataRef:
        """What cards say about the data."""
        return DataRef(name=self.name, sha256=self.sha256, rows=len(self.documents))

    @property
    def options(self) -> dict[str, str]:
        """What a command line says beside the file."""
        said = {} if self.positive is None else {"positive": self.positive}
        return {"tokens": self.tokens, **said}

    def __len__(self) -> int:
        return len(self.documents)

    def __repr__(self) -> str:
        kind, labels = type(self).__name__, ", ".join(self.labels)
        return f"{kind}({self.name!r}: {len(self):,} documents, {labels})"


class LabelledTexts(LabelledDocuments):
    """Documents with labels: JSON lines `{"id", "text" | "messages", "label"[, "group"]}`."""

    @staticmethod
    def _check(document: Document) -> None:
        if document.label is None:
            raise InputError('it has "spans".', 'Give a "label" for the whole.')

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes (see `LabelledDocuments.labels`)."""
        return labels_of([str(document.label) for document in self.documents], self.positive)

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Return a contrast at each site; a unit is a group of documents, or else a document."""
        contents = [
            d.content if isinstance(d.content, str) else list(d.content) for d in self.documents
        ]
        acts = model.capture(contents, sites, ids=[d.id for d in self.documents], progress=progress)
        labels = self.labels
        classes = [
            int(d.label == self.positive) if self.positive else labels.index(str(d.label))
            for d in self.documents
        ]
        units = units_of(self.documents)
        return {
            site: Contrast(
                *stack(document_rows(acts, site, self.tokens), classes, units), labels, paired=False
            )
            for site in sites
        }


@dataclass(frozen=True, eq=False)
class LabelledActivations:
    """Activations that were read before, with a class for each document.

    Attributes:
        name: what people call them.
        acts: of documents.
        classes: `[documents]` int64, indices into `labels`.
        labels: names of the classes; the first is what the others are compared with.
        tokens: which tokens of a document count.
    """

    name: str
    acts: Activations
    classes: Tensor
    labels: tuple[str, ...] = ("negative", "positive")
    tokens: Tokens = "mean"
    path: Path | None = None

    def __post_init__(self) -> None:
        documents = len(self.acts.document_ids)
        if self.classes.shape != (documents,):
            raise InputError(f"{len(self.classes)} classes were given for {documents} documents.")
        if set(self.classes.tolist()) != set(range(len(self.labels))) or len(self.labels) < 2:
            raise InputError(
                "The classes are not those of the labels.", "Give two or more, each used."
            )

    @property
    def ref(self) -> DataRef:
        """What cards say about the data: the hash is that of token ids and classes."""
        content = self.acts.token_ids.numpy().tobytes() + self.classes.numpy().tobytes()
        return DataRef(name=self.name, sha256=sha256(content).hexdigest(), rows=len(self.classes))

    @property
    def options(self) -> dict[str, str]:
        """What a command line says beside the file: there is no file."""
        return {}

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Return a contrast at each site; a document is a unit.

        Raises:
            InputError: the activations are of another model, or the site was not read.
        """
        check_model(self.acts.fingerprint, model.fingerprint, f"The activations {self.name}")
        classes, units = self.classes.tolist(), list(range(len(self.classes)))
        return {
            site: Contrast(
                *stack(document_rows(self.acts, site, self.tokens), classes, units),
                self.labels,
                paired=False,
            )
            for site in sites
        }


def units_of(documents: Sequence[Document]) -> list[int]:
    """Return the unit of each document: its group, or else itself."""
    names = [f"id {d.id}" if d.group is None else f"group {d.group}" for d in documents]
    places = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return [places[name] for name in names]


def labels_of(found: list[str], positive: str | None) -> tuple[str, ...]:
    """Return the classes, the one that others are compared with first (see `read_source`)."""
    labels = sorted(set(found))
    if len(labels) < 2:
        raise InputError("The documents have fewer than two labels.", "A direction needs two.")
    if positive is None:
        return tuple(labels)
    if positive not in labels:
        raise InputError(
            f"No document has the label {positive!r}.", f"There are: {', '.join(labels)}."
        )
    rest = [label for label in labels if label != positive]
    return (rest[0] if len(rest) == 1 else "others", positive)
