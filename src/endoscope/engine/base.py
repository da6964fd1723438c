"""What every engine can be asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from endoscope.engine.batching import Row
from endoscope.models import Anatomy, Site, SiteKind, TextTokenizer


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do; what it cannot is refused, with the alternative named.

    Attributes:
        engine: its name.
        kinds: the kinds of site that it can read on this model.
        causal: whether a token sees only what is before it; without that there is no streaming.
    """

    engine: str
    kinds: tuple[SiteKind, ...]
    causal: bool


class Engine(Protocol):
    """Runs sequences through a model and reads sites."""

    anatomy: Anatomy
    tokenizer: TextTokenizer

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do with its model."""
        ...

    def read(
        self, rows: Sequence[Row], sites: Sequence[Site], *, batch_tokens: int
    ) -> Iterator[tuple[list[int], dict[Site, Tensor]]]:
        """Run rows in batches of similar length and yield what was read.

        Yields:
            The numbers of the rows in the batch, and for each site the values of their kept tokens,
            one row after the other: `[tokens, d_model]`, on the CPU.
        """
        ...
