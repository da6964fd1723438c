"""A guard that judges the whole of a text that is still being written."""

from collections.abc import Mapping, Sequence

from endoscope.errors import InputError
from endoscope.guard.graphemes import clusters
from endoscope.guard.policy import Policy
from endoscope.guard.released import Fired, Released
from endoscope.guard.scoring import UnscoredError, check_scores
from endoscope.guard.spans import Span
from endoscope.readouts import TokenScores


class DocumentStream:
    """A guard over the score of one text so far, which comes in pieces.

    Text goes out when the score of the text up to and with it is known and below every threshold of
    `stop`. Each label acts once, when its threshold is reached.

    It fails closed, as `GuardStream` does.

    Args:
        policy: one with the scope `document`.
        labels: the classes of the scores; the first means "nothing here".
        thresholds: the least probability for each label.

    Raises:
        InputError: the policy looks for values (see `GuardStream`).
    """

    def __init__(
        self, policy: Policy, labels: Sequence[str], thresholds: Mapping[str, float]
    ) -> None:
        if policy.scope != "document":
            raise InputError(f"Policy {policy.name!r} looks for values.", "Set scope: document.")
        self.policy = policy
        self.labels = tuple(labels)
        self._thresholds = {n: limit for n, limit in thresholds.items() if n in policy.labels}
        self._reached: set[str] = set()
        self._text = ""  # what has not gone out
        self._settled = 0
        self._scored = 0  # every token that begins before this has its score
        self._read = 0  # a token that ends here has its score, and with it all before
        self._ended = self._failed = self.stopped = False

    @property
    def done(self) -> bool:
        """Whether the text has ended or was stopped."""
        return self._ended or self.stopped

    def push(
        self, text: str, scores: TokenScores | None = None, *, scored: int | None = None
    ) -> Released:
        """Take more of the text, and scores that have become final.

        Args:
            text: what follows.
            scores: of the text up to and with each of the next tokens; offsets as of tokens.
            scored: see `GuardStream.push`.

        Raises:
            UnscoredError: the scores are none. Nothing goes out any more.
        """
        self._check_running()
        self._text += "" if self.stopped else text
        fired: list[Fired] = []
        try:
            if scores is not None and not self.stopped:
                check_scores(scores, self.labels)
                fired = self._judge(scores)
        except UnscoredError:
            self._failed = True
            raise
        if not self.stopped:
            self._scored = max(self._scored, min(scored or 0, self._read))
        return self._release(fired)

    def finish(self) -> Released:
        """End the text.

        Raises:
            UnscoredError: some of it has no score.
        """
        self._check_running()
        if not self.stopped and self._text[max(0, self._read - self._settled) :].strip():
            self._failed = True
            raise UnscoredError("the probe did not read all of a text")
        self._ended = True
        if not self.stopped:
            self._scored = self._settled + len(self._text)
        return self._release([])

    def decide(self, start: int, confirmed: bool) -> Released:
        """Refuse: nothing waits for a decision here."""
        raise InputError(f"No span at character {start} waits for a decision.")

    def _check_running(self) -> None:
        if self._failed:
            raise UnscoredError("the guard has failed on an earlier part of this text")
        if self._ended:
            raise InputError("This stream has ended.", "Start another.")

    def _judge(self, scores: TokenScores) -> list[Fired]:
        fired = []
        for (start, end), row in zip(
            scores.offsets.tolist(), scores.probabilities.tolist(), strict=True
        ):
            for label, probability in zip(self.labels[1:], row[1:], strict=True):
                limit = self._thresholds.get(label)
                if limit is None or probability < limit or label in self._reached:
                    continue
                self._reached.add(label)
                action = self.policy.labels[label].action
                fired.append(Fired(action, Span(0, end, label, probability)))
                self.stopped |= action == "stop"
            # Not its end: the next token may begin inside the character that this one ends in.
            self._scored = max(self._scored, start)
            self._read = max(self._read, end)
            if self.stopped:
                break
        return fired

    def _release(self, fired: Sequence[Fired]) -> Released:
        limit = min(self._scored - self._settled, len(self._text))
        place = limit
        if limit and not (self._ended and limit == len(self._text)):
            place = _whole(self._text, limit)
        text, self._text = self._text[:place], self._text[place:]
        self._settled += place
        if self.stopped:
            self._text = ""
        return Released(text, (), self._settled, tuple(fired))


def _whole(text: str, limit: int) -> int:
    """The last place up to `limit` where a character is known to end."""
    place = 0
    for _, end in clusters(text):
        if end > limit or end == len(text):
            break
        place = end
    return place
