"""The text of one request while its tokens come."""

from typing import NamedTuple

from endoscope.engine.stopping import StopTexts
from endoscope.models import Vocabulary


class Added(NamedTuple):
    """What a token adds; see `Step` for the text and the span."""

    text: str
    span: tuple[int, int]
    stopped: bool


class TextStream:
    """Tokens to text, with stop texts looked for.

    Attributes:
        end: how many characters have come, those of an incomplete one and of stop texts counted.

    Args:
        vocabulary: of the model.
        stops: texts that end the generation.
    """

    def __init__(self, vocabulary: Vocabulary, stops: tuple[str, ...]) -> None:
        self._tokens = vocabulary.detokenizer()
        self._stops = StopTexts(stops)
        self.end = 0

    def push(self, token_id: int) -> Added:
        """Take a token that stands for text."""
        piece = self._tokens.push(token_id)
        text, stopped = self._stops.push(piece.text)
        self.end = max(self.end, piece.span[1])
        return Added(text, piece.span, stopped)

    def finish(self) -> Added:
        """Return what was held back, at the end of the text."""
        text, stopped = self._stops.push(self._tokens.finish())
        return Added(text + self._stops.finish(), (self.end, self.end), stopped)
