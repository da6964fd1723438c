"""What a guard lets out of a stream."""

from typing import NamedTuple

from endoscope.guard.policy import Action
from endoscope.guard.spans import Span


class Fired(NamedTuple):
    """An action that somebody has to carry out.

    Attributes:
        action: `stop`, `steer` or `escalate`.
        span: what it is about, in characters of the original text. For a score of the whole text,
            from its beginning to the token at which the threshold was reached.
    """

    action: Action
    span: Span


class Released(NamedTuple):
    """What is certain and goes out.

    Attributes:
        text: redacted text that follows what went out before.
        spans: the spans in it, in characters of the original text.
        settled: how many characters of the original text have gone out, as they were or replaced.
        fired: actions to be carried out, for spans that may not have gone out yet.
    """

    text: str
    spans: tuple[Span, ...] = ()
    settled: int = 0
    fired: tuple[Fired, ...] = ()
