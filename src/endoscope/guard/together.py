"""Several guards over one text, and the tokens that it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from endoscope.engine.requests import NO_TOKEN, Finish, Step
from endoscope.guard.document import DocumentStream
from endoscope.guard.policy import Policy
from endoscope.guard.released import Fired, Released
from endoscope.guard.settle import before
from endoscope.guard.spans import Span
from endoscope.guard.stream import GuardStream


class Found(NamedTuple):
    """A span that went out, or an action, and whose policy it is of."""

    policy: Policy
    span: Span


class Acted(NamedTuple):
    """An action that fired, and whose policy it is of."""

    policy: Policy
    fired: Fired


@dataclass(frozen=True)
class Guarded:
    """What goes out together.

    Attributes:
        text: redacted text.
        steps: the tokens that it stands for, those of held text with the text. One that lies in a
            replaced value has no id, text or log-probabilities: they would tell it. One whose text
            is also that of a token before it, in a replaced value, has no text.
        spans: what was found in it, in characters of the original text.
        actions: what fired, as soon as it is certain.
        finish: with the last one, why it ends; `content_filter`: a guard stopped it.
        error: with finish `error`, what went wrong.
    """

    text: str = ""
    steps: tuple[Step, ...] = ()
    spans: tuple[Found, ...] = ()
    actions: tuple[Acted, ...] = ()
    finish: Finish | Literal["content_filter"] | None = None
    error: str | None = None


class Together:
    """Lets out what every guard has settled.

    Each guard reads the original text, and text goes out when all have settled it. What any of them
    replaces is replaced; where two overlap, the guard that comes first has the characters, and what
    is left of the other's span is replaced as well.

    Args:
        streams: the guards, the most important first.
    """

    def __init__(self, streams: Sequence[GuardStream | DocumentStream]) -> None:
        self._streams = list(streams)
        self._text = ""  # from `_settled` on
        self._settled = 0
        self._reached = [0] * len(self._streams)
        self._spans: list[list[Span]] = [[] for _ in self._streams]
        self._steps: list[tuple[Step, int]] = []  # and where its text begins
        self._hidden: list[Span] = []  # what was replaced, as far as tokens may lie in it

    @property
    def stopped(self) -> bool:
        """Whether a guard has ended the text."""
        return any(stream.stopped for stream in self._streams)

    @property
    def done(self) -> bool:
        """Whether all that will go out has."""
        if self.stopped:
            return all(stream.done for stream in self._streams if stream.stopped)
        return all(stream.done for stream in self._streams)

    def push(self, step: Step) -> None:
        """Take a step of the engine."""
        self._steps.append((step, self._settled + len(self._text)))
        self._text += step.text

    def settle(self, released: Sequence[tuple[int, Released]], *, last: bool = False) -> Guarded:
        """Take what guards let out, by their number; return what all of them do.

        Args:
            released: what they let out.
            last: whether nothing follows: tokens without text go out too.
        """
        actions = []
        for number, part in released:
            self._spans[number] += part.spans
            self._reached[number] = part.settled
            policy = self._streams[number].policy
            actions += [Acted(policy, fired) for fired in part.fired]
        known = [span for spans in self._spans for span in spans]
        place = before(known, min(self._reached, default=self._settled + len(self._text)))
        text, found = self._take(place)
        return Guarded(text, self._tokens(place, last), found, tuple(actions))

    def _take(self, place: int) -> tuple[str, tuple[Found, ...]]:
        taken: list[tuple[Span, str]] = []  # pieces, and what stands for the first of a span
        found: list[Found] = []
        for number, stream in enumerate(self._streams):
            own = [span for span in self._spans[number] if span.end <= place]
            self._spans[number] = self._spans[number][len(own) :]
            for span in own:
                found.append(Found(stream.policy, span))
                if span.label in stream.policy.redacted and isinstance(stream, GuardStream):
                    value = self._text[span.start - self._settled : span.end - self._settled]
                    stands = stream.replacer(value, span.label)
                    taken += [(piece, stands) for piece in uncovered(span, taken)]
        parts: list[str] = []
        done = self._settled
        for piece, stands in sorted(taken):
            parts += self._text[done - self._settled : piece.start - self._settled], stands
            done = piece.end
        parts.append(self._text[done - self._settled : place - self._settled])
        self._text = self._text[place - self._settled :]
        self._settled = place
        self._hidden += [piece for piece, _ in taken]
        return "".join(parts), tuple(sorted(found, key=lambda one: one.span[:2]))

    def _tokens(self, place: int, last: bool) -> tuple[Step, ...]:
        """The tokens whose text has gone out; those in a replaced value without what tells it."""
        out = []
        while self._steps and (self._steps[0][0].span[1] <= place or (last and not self.stopped)):
            out.append(self._scrubbed(*self._steps.pop(0)))
        first = place
        if self._steps:
            step, start = self._steps[0]
            first = min(step.span[0], start)
        self._hidden = [span for span in self._hidden if span.end > first]
        return tuple(out)

    def _scrubbed(self, step: Step, start: int) -> Step:
        if self._hides(*step.span):
            return replace(step, token_id=NO_TOKEN, text="", logprob=None, top=())
        # With a token comes what could have become a stop text: the text of tokens before it.
        if self._hides(start, start + len(step.text)):
            return replace(step, text="")
        return step

    def _hides(self, start: int, end: int) -> bool:
        return any(span.start < end and start < span.end for span in self._hidden)


def uncovered(span: Span, taken: Sequence[tuple[Span, str]]) -> list[Span]:
    """The pieces of a span that lie outside those that are taken."""
    pieces, start = [], span.start
    for other, _ in sorted(taken):
        if other.end <= start or other.start >= span.end:
            continue
        if start < other.start:
            pieces.append(span._replace(start=start, end=other.start))
        start = max(start, other.end)
    return [*pieces, span._replace(start=start)] if start < span.end else pieces
