"""The guard over a text that is still being written: what is certain goes out at once.

What goes out, joined, is what redacting the finished text with the same scores gives. That takes
knowing what text to come can still change, for every rule: `finding` says where that begins.
"""

from collections.abc import Collection, Mapping, Sequence

from endoscope.errors import InputError
from endoscope.guard.finding import Finder, Text
from endoscope.guard.graphemes import Graphemes, clusters
from endoscope.guard.policy import Language, Policy
from endoscope.guard.redact import Replacer, redact
from endoscope.guard.released import Fired, Released
from endoscope.guard.scoring import UnscoredError, check_scores, language, may_be_unread
from endoscope.guard.settle import before, settle, whole
from endoscope.guard.spans import Span
from endoscope.guard.unfinished import searchable
from endoscope.guard.validators import VALIDATORS
from endoscope.guard.validators.plain import HYPHENS, plain
from endoscope.readouts import TokenScores

LONGEST_HOLD = 1 << 16
"""Characters that are held at most; a value that is longer fails."""
_CONTEXT = 512  # characters that rules look back from what is not certain
_FORGOTTEN = 1024  # how many are dropped at once
_NO_GRAPHEMES = Graphemes("")


class GuardStream:
    """A guard over one text that comes in pieces. It runs no model.

    Text goes out when it is scored, and outside anything that text to come could still make part of
    a span; only whole characters (grapheme clusters) do. What went out, joined, equals
    `Guard.replace(text, Guard.spans(text, scores))` of the finished text, whatever the pieces.

    It fails closed: after an `UnscoredError` nothing goes out any more.

    Args:
        policy: what to look for and what to do with it.
        labels: the classes of the scores; the first means "nothing here".
        thresholds: the least probability for each label that the probe looks for.
        replacer: gives the replacements; one of its own if left out. Share one between texts whose
            pseudonyms are to agree.
        languages: what the probe reads. A text with a kana or a kanji in it fails where that is not
            Japanese.

    Attributes:
        replacer: as given.

    Raises:
        InputError: the policy judges texts as a whole (see `DocumentStream`).

    Example:
        >>> stream = guard.stream()
        >>> stream.push("Call Mary", scores).text
        'Call '
        >>> stream.finish().text
        '[NAME]'
    """

    def __init__(
        self,
        policy: Policy,
        labels: Sequence[str],
        thresholds: Mapping[str, float],
        replacer: Replacer | None = None,
        languages: Collection[Language] = ("en", "ja"),
    ) -> None:
        if policy.scope != "spans":
            raise InputError(f"Policy {policy.name!r} judges whole texts.", "Use DocumentStream.")
        self.policy = policy
        self.labels = tuple(labels)
        self._languages = languages
        self.replacer = replacer or Replacer(policy)
        validators = VALIDATORS if policy.validators else ()
        limits = {name: limit for name, limit in thresholds.items() if name in policy.labels}
        self._finder = Finder(self.labels, limits, policy.labels, validators)
        self._text = self._normal = ""  # what is still needed
        self._forgotten = 0  # characters before it; all places below count from there
        self._scored = 0  # all tokens that begin before this have come
        self._read = 0  # all that must be in a token is, up to here
        self._last_start = 0  # of a token
        self._found = 0  # all spans before this are in `_spans` or have gone out
        self._settled = 0  # what is before this has gone out
        self._spans: list[Span] = []  # settled, in characters of the whole text
        self._undecided: set[int] = set()  # beginnings of escalated spans, in the whole text
        self._stop: int | None = None
        self._ended = self._failed = False

    @property
    def done(self) -> bool:
        """Whether the text has ended, or was stopped, and nothing waits for a decision."""
        return (self._ended or self._stop is not None) and not self._undecided

    @property
    def stopped(self) -> bool:
        """Whether an action has ended the text."""
        return self._stop is not None

    def push(
        self, text: str, scores: TokenScores | None = None, *, scored: int | None = None
    ) -> Released:
        """Take more of the text, and scores that have become final.

        Args:
            text: what follows; it may end anywhere.
            scores: of the next tokens, in order, with offsets in the whole text; they may come
                later than their text.
            scored: a character before which every token that begins there has been given; if left
                out, the beginning of the last one given. Telling it lets text out a token earlier.

        Raises:
            UnscoredError: the scores are none, or leave out text. Nothing goes out any more.
        """
        self._check_running()
        if self.stopped:
            return self._release()
        stable = max(0, len(self._normal) - 1)  # the form of a hyphen depends on what follows it
        self._text += text
        before = max(0, stable - 1)
        self._normal = self._normal[:stable] + plain(self._text[before:])[stable - before :]
        return self._guarded(scores, scored)

    def finish(self) -> Released:
        """End the text and let out what is left, but for what waits for a decision.

        Raises:
            UnscoredError: some of the text has no scores. Nothing goes out.
        """
        self._check_running()
        self._ended = True
        return self._release() if self.stopped else self._guarded(None, None)

    def decide(self, start: int, confirmed: bool) -> Released:
        """Say what became of an escalated span: whether it is what the probe takes it for.

        Args:
            start: where it begins.
            confirmed: if not, it goes out as it is.

        Raises:
            InputError: no span that begins there waits for a decision.
        """
        if self._failed or start not in self._undecided:
            raise InputError(f"No span at character {start} waits for a decision.")
        self._undecided.remove(start)
        if not confirmed:
            self._spans = [span for span in self._spans if span.start != start]
        return self._release()

    def _check_running(self) -> None:
        if self._failed:
            raise UnscoredError("the guard has failed on an earlier part of this text")
        if self._ended:
            raise InputError("This stream has ended.", "Start another.")

    def _guarded(self, scores: TokenScores | None, scored: int | None) -> Released:
        try:
            return self._advance(scores, scored)
        except Exception as error:
            self._failed = True
            self._text = self._normal = ""
            if isinstance(error, UnscoredError):
                raise
            # Its message may quote the text, and a traceback would show it.
            raise UnscoredError(f"the rules failed ({type(error).__name__})") from None

    def _advance(self, scores: TokenScores | None, scored: int | None) -> Released:
        if language(self._text) not in self._languages:
            raise UnscoredError("no probe of this guard reads Japanese")
        if scores is not None:
            self._take(scores)
        if scored is not None:
            told = min(scored - self._forgotten, len(self._text))
            self._check_read(told)
            self._scored = max(self._scored, told)
        if self._ended:
            self._check_read(len(self._text))
            self._scored = len(self._text)
        self._finder.advance(self._as_text(), self._scored)
        fired = self._settle()
        if self._scored - self._settled > LONGEST_HOLD and not self._undecided:
            raise UnscoredError(f"a value is longer than {LONGEST_HOLD:,} characters")
        released = self._release(fired)
        self._forget(min(self._settled, self._found) - _CONTEXT)
        return released

    def _take(self, scores: TokenScores) -> None:
        """Check scores, and keep them."""
        offsets = scores.offsets.cpu().long() - self._forgotten
        probabilities = scores.probabilities.cpu().float()
        check_scores(scores, self.labels)
        solid = scores.offsets[:, 0].cpu() < scores.offsets[:, 1].cpu()
        offsets, probabilities = offsets[solid], probabilities[solid]
        for start, end in offsets.tolist():
            if not self._last_start <= start < end <= len(self._text):
                raise UnscoredError("the probe's tokens are out of order or outside the text")
            self._check_read(start)
            self._read = max(self._read, end)
            self._last_start = start
        self._scored = max(self._scored, self._last_start)
        self._finder.probe.push(offsets, probabilities)

    def _check_read(self, end: int) -> None:
        for place in range(self._read, end):
            if not may_be_unread(self._text[place]):
                place += self._forgotten
                raise UnscoredError(f"the probe did not read character {place} of a text")
        self._read = max(self._read, end)

    def _as_text(self) -> Text:
        text, normal = self._text, self._normal
        hyphen = not self._ended and normal[-1:] in HYPHENS
        plain_text = searchable(normal)
        return Text(
            text, searchable(text), normal, plain_text, len(text) - hyphen, ended=self._ended
        )

    def _settle(self) -> list[Fired]:
        """Move what is certain from what was found to what goes out."""
        graphemes = Graphemes(self._text, self._found) if self._finder.spans else _NO_GRAPHEMES
        hold = before(whole(self._finder.spans, graphemes), self._whole(self._finder.hold))
        spans = whole(self._finder.take(hold), graphemes)
        self._found = hold
        fired = []
        for span in settle(self._text, spans, self.policy.redacted, graphemes):
            action = self.policy.labels[span.label].action
            if action in ("stop", "steer", "escalate"):
                fired.append(Fired(action, _shifted(span, self._forgotten)))
            if action == "stop":
                self._stop = self._found = span.start
                break
            if action == "escalate":
                self._undecided.add(span.start + self._forgotten)
            self._spans.append(_shifted(span, self._forgotten))
        return fired

    def _whole(self, place: int) -> int:
        """The beginning of the character that a place lies in, all of which may not have come."""
        if self._ended and place == len(self._text):
            return place
        if (tail := self._text[self._found :]).isascii() and "\r" not in tail:
            return min(place, max(self._found, len(self._text) - 1))
        last = self._found
        for start, end in clusters(self._text, self._found):
            if end > place or end == len(self._text):
                return start
            last = end
        return last

    def _release(self, fired: Sequence[Fired] = ()) -> Released:
        """Let out what is settled, up to the first span that waits for a decision."""
        waiting = min(self._undecided, default=None)
        end = self._found if waiting is None else waiting - self._forgotten
        first = self._settled + self._forgotten
        out = [span for span in self._spans if span.end <= end + self._forgotten]
        self._spans = self._spans[len(out) :]
        piece = self._text[self._settled : end]
        text = redact(piece, [_shifted(span, -first) for span in out], self.replacer).redacted
        self._settled = end
        return Released(text, tuple(out), end + self._forgotten, tuple(fired))

    def _forget(self, count: int) -> None:
        """Drop characters that nothing looks back to."""
        if count < _FORGOTTEN:
            return
        self._text, self._normal = self._text[count:], self._normal[count:]
        self._forgotten += count
        self._finder.forget(count)
        self._scored -= count
        self._read -= count
        self._last_start -= count
        self._found -= count
        self._settled -= count


def _shifted(span: Span, count: int) -> Span:
    return span._replace(start=span.start + count, end=span.end + count)
