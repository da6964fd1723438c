"""Labelled documents: the probe data contract, read and checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Literal

import torch
from torch import Tensor

from endoscope import jsonl
from endoscope.activations import Activations
from endoscope.artifacts import DataRef
from endoscope.documents import NOTHING, Document, Message, parse_document, token_labels
from endoscope.errors import InputError


@dataclass(frozen=True, repr=False)
class ProbeData:
    """Labelled documents, all with labels or all with spans.

    Attributes:
        name: what people call the data.
        sha256: of the file.
        documents: in the order of the file.
        part: which split this is, or `all`.
        path: the file that this is the whole of, if it is.
    """

    name: str
    sha256: str
    documents: tuple[Document, ...]
    part: str = "all"
    path: Path | None = None

    @classmethod
    def read(cls, path: str | Path) -> "ProbeData":
        """Read a file of JSON lines: `{"id", "text" | "messages", "label" | "spans"}`.

        `spans` are `[[start, end, label], …]` in Unicode code points of `text`, end exclusive. A
        `group` key is optional. Blank lines are skipped.

        Raises:
            InputError: names the first line that is wrong and how to mend it, never its text.
        """
        path = Path(path)
        raw = jsonl.read_bytes(path)
        documents: list[Document] = []
        lines: dict[str, int] = {}
        for number, line in jsonl.numbered(raw):
            with jsonl.on_line(path, number):
                document = parse_document(line)
                if document.id in lines:
                    raise InputError(f"the id was used on line {lines[document.id]}.", "Rename it.")
                if documents and (document.spans is None) != (documents[0].spans is None):
                    raise InputError(
                        'the lines before differ in kind ("label" or "spans").',
                        "Keep the two kinds in files of their own.",
                    )
            lines[document.id] = number
            documents.append(document)
        if not documents:
            raise InputError(f"{path.name} has no documents.", "Give one JSON object a line.")
        return cls(path.name, sha256(raw).hexdigest(), tuple(documents), path=path)

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def level(self) -> Literal["token", "document"]:
        """Whether spans or whole documents are labelled."""
        return "document" if self.documents[0].spans is None else "token"

    @property
    def contents(self) -> list[str | list[Message]]:
        """The texts and conversations, in order, as a model takes them."""
        return [
            d.content if isinstance(d.content, str) else list(d.content) for d in self.documents
        ]

    @property
    def ids(self) -> list[str]:
        """The names of the documents, in order."""
        return [document.id for document in self.documents]

    @property
    def ref(self) -> DataRef:
        """What cards say about the data."""
        return DataRef(name=self.name, sha256=self.sha256, rows=len(self.documents))

    def counts(self) -> Counter[str]:
        """Return how many documents (or spans) have each label."""
        if self.level == "document":
            return Counter(d.label for d in self.documents if d.label is not None)
        return Counter(span.label for d in self.documents for span in d.spans or ())

    def labels(self, negative: str | None = None) -> tuple[str, ...]:
        """Return the classes, the one that means "nothing" first.

        For spans that is `O`. For documents it is `negative`, or else the most frequent label.

        Raises:
            InputError: there is only one class, or none is called `negative`.
        """
        counts = self.counts()
        if self.level == "token":
            if not counts:
                raise InputError(f"{self.name} has no spans.", "A probe needs labelled examples.")
            return (NOTHING, *sorted(counts))
        if len(counts) < 2:
            raise InputError(
                f"{self.name} has only one label.", "A probe needs examples of two labels or more."
            )
        if negative is not None and negative not in counts:
            raise InputError(
                f"No document has the label {negative!r}.", f"There are: {', '.join(counts)}."
            )
        first = negative or min(counts, key=lambda label: (-counts[label], label))
        return (first, *sorted(set(counts) - {first}))

    def classes(self, labels: Sequence[str]) -> Tensor:
        """Return the class of each document, `[documents]` int64.

        Raises:
            InputError: a label is not among these.
        """
        self.check_labels(labels)
        index = {label: i for i, label in enumerate(labels)}
        return torch.tensor([index[d.label or ""] for d in self.documents])

    def token_classes(self, acts: Activations, labels: Sequence[str]) -> Tensor:
        """Return the class of each token of the documents, `[tokens]` int64 (see `token_labels`).

        Args:
            acts: of all these documents, in their order.
            labels: classes; spans with another label count as nothing.
        """
        classes = torch.zeros(len(acts), dtype=torch.long)
        for number, document in enumerate(self.documents):
            rows = acts.rows(number)
            classes[rows] = token_labels(acts.offsets[rows], document.spans or (), labels)
        return classes

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuse data with labels other than these.

        Raises:
            InputError: names what is unknown.
        """
        if unknown := sorted(set(self.counts()) - set(labels)):
            raise InputError(
                f"{self.name} has labels that the probe does not know: {', '.join(unknown)}.",
                f"It knows: {', '.join(labels)}.",
            )

    def split(self, parts: dict[str, float], *, seed: int = 0) -> dict[str, tuple[int, ...]]:
        """Divide the documents, by label, with groups kept whole.

        Args:
            parts: names and shares, such as `{"train": 0.7, "validation": 0.15, "test": 0.15}`.
            seed: of the shuffling.

        Returns:
            The indices of each part's documents, ascending.
        """
        total = self.counts()
        groups: dict[str, list[int]] = {}
        for index, document in enumerate(self.documents):
            key = f"group {document.group}" if document.group is not None else f"id {document.id}"
            groups.setdefault(key, []).append(index)
        strata: dict[str, list[list[int]]] = {}
        for members in groups.values():
            found = [label for i in members for label in _labels_of(self.documents[i])]
            # A group counts for its rarest label, so that rare labels are spread first.
            stratum = min(found, key=lambda label: (total[label], label), default="")
            strata.setdefault(stratum, []).append(members)

        chosen: dict[str, list[int]] = {name: [] for name in parts}
        random = Random(seed)
        for stratum in sorted(strata):
            random.shuffle(strata[stratum])
            filled = dict.fromkeys(parts, 0)
            for members in strata[stratum]:
                name = min(parts, key=lambda part: (filled[part] + 0.5) / parts[part])
                chosen[name].extend(members)
                filled[name] += len(members)
        return {name: tuple(sorted(indices)) for name, indices in chosen.items()}

    def take(self, indices: Sequence[int], part: str) -> "ProbeData":
        """Return some of the documents, as a part with a name."""
        documents = tuple(self.documents[i] for i in indices)
        return replace(self, documents=documents, part=part, path=None)

    def __repr__(self) -> str:
        counts = ", ".join(f"{label} {n:,}" for label, n in self.counts().most_common())
        what = "spans" if self.level == "token" else "labels"
        return f"ProbeData({self.name!r}/{self.part}: {len(self):,} documents, {what}: {counts})"


def _labels_of(document: Document) -> list[str]:
    if document.spans is None:
        return [document.label or ""]
    return [span.label for span in document.spans]
