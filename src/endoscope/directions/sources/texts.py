"""Contrasting texts: pairs that differ in what the direction is of."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from endoscope import jsonl
from endoscope.artifacts import DataRef
from endoscope.directions.contrast import Contrast
from endoscope.directions.reading import Tokens, document_rows, stack
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.models import Site

LABELS = ("negative", "positive")


@dataclass(frozen=True)
class Pair:
    """Two texts that differ in one thing.

    Attributes:
        id: its name, unique in the data.
        positive: the text that has it.
        negative: the text that lacks it.
    """

    id: str
    positive: str
    negative: str


@dataclass(frozen=True, repr=False)
class ContrastingTexts:
    """Pairs of texts.

    Attributes:
        name: what people call them.
        sha256: of the file.
        pairs: in the order of the file.
        tokens: which tokens of a text count.
        path: the file that this is the whole of, if it is.
    """

    name: str
    sha256: str
    pairs: tuple[Pair, ...]
    tokens: Tokens = "mean"
    path: Path | None = None

    @classmethod
    def read_file(cls, path: str | Path, *, tokens: Tokens = "mean") -> "ContrastingTexts":
        """Read a file of JSON lines, `{"id", "positive", "negative"}`.

        Raises:
            InputError: names the first line that is wrong and how to mend it, never its text.
        """
        path = Path(path)
        raw = jsonl.read_bytes(path)
        pairs: dict[str, Pair] = {}
        for number, line in jsonl.numbered(raw):
            with jsonl.on_line(path, number):
                pair = _pair(jsonl.json_object(line), str(number))
                if pair.id in pairs:
                    raise InputError("the id was used before.", "Rename it.")
                pairs[pair.id] = pair
        if not pairs:
            raise InputError(f"{path.name} has no pairs.", "Give one JSON object a line.")
        return cls(path.name, sha256(raw).hexdigest(), tuple(pairs.values()), tokens, path)

    @classmethod
    def of(
        cls, pairs: Sequence[tuple[str, str]], *, name: str, tokens: Tokens = "mean"
    ) -> "ContrastingTexts":
        """Make a source of (positive, negative) texts."""
        made = tuple(Pair(str(i), *texts) for i, texts in enumerate(pairs))
        return cls(name, sha256(repr(made).encode()).hexdigest(), made, tokens)

    @property
    def ref(self) -> DataRef:
        """What cards say about the data."""
        return DataRef(name=self.name, sha256=self.sha256, rows=len(self.pairs))

    @property
    def options(self) -> dict[str, str]:
        """What a command line says beside the file."""
        return {"tokens": self.tokens}

    def read(
        self, model: Model, sites: Sequence[Site], *, progress: bool = False
    ) -> dict[Site, Contrast]:
        """Return a contrast at each site; a pair is a unit."""
        texts = [text for pair in self.pairs for text in (pair.negative, pair.positive)]
        ids = [f"{pair.id} ({label})" for pair in self.pairs for label in LABELS]
        acts = model.capture(texts, sites, ids=ids, progress=progress)
        classes = [0, 1] * len(self.pairs)
        units = [number // 2 for number in range(len(texts))]
        return {
            site: Contrast(
                *stack(document_rows(acts, site, self.tokens), classes, units), LABELS, paired=True
            )
            for site in sites
        }

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"ContrastingTexts({self.name!r}: {len(self):,} pairs, tokens {self.tokens})"


def _pair(row: dict[str, Any], number: str) -> Pair:
    for key in ("positive", "negative"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise InputError(f'"{key}" is no text.', 'Give {"id", "positive", "negative"}.')
    given = jsonl.identity(row)
    return Pair(number if given is None else given, row["positive"], row["negative"])
