"""A guard that reads a model beside the one that writes, as the text comes."""

from time import monotonic

import torch
from torch import Tensor

from endoscope.engine.requests import Step
from endoscope.engine.transformers_reading import IncrementalReader
from endoscope.errors import InputError
from endoscope.guard.loading import ProbeScorer
from endoscope.guard.released import Released
from endoscope.guard.scoring import UnscoredError, readable
from endoscope.guard.stream import GuardStream
from endoscope.guard.watching import joined
from endoscope.guard.windows import last_break, near_end, next_start
from endoscope.models import Site
from endoscope.models.joints import Joints
from endoscope.readouts import TokenScores

_LONGEST_OPEN = 64  # characters without a joint
_SURELY = 32  # characters after a token, after which it is taken to stay


class SideReader:
    """Scores a text that grows, by a probe of one reading on a model of its own.

    Only what no text to come can cut into other tokens is read, so nothing is read twice but for
    the beginning of each window; windows are those of the finished text (`windows.join_late`).
    Tokens and scores equal those of the finished text.

    Args:
        scorer: a probe with its model.

    Attributes:
        tokens: how many tokens the model has read.
        seconds: how long that took.

    Raises:
        InputError: the probe reads the text twice, or the model has no room for a window.
    """

    def __init__(self, scorer: ProbeScorer) -> None:
        room = scorer.model.loaded.anatomy.max_tokens
        if room is not None and 4 * scorer.max_characters + 2 > room:
            raise InputError(f"{scorer.model.name} reads too few tokens at once for a stream.")
        self._scorer = scorer
        self._tokenizer = scorer.model.tokenizer
        self._joints = Joints(self._tokenizer)
        self._prefix = self._tokenizer.prefix()
        self._reader = IncrementalReader(scorer.model, scorer.probe.spec.sites)
        self.tokens, self.seconds = 0, 0.0
        self._text = ""  # from the beginning of the window
        self._first = 0  # where that is
        self._seam = 0  # all tokens that end up to here have their scores
        self._begin()

    def push(self, text: str) -> tuple[TokenScores | None, int]:
        """Take more text.

        Returns:
            The scores that are final now, and up to where all tokens have theirs.

        Raises:
            UnscoredError: a token changed after it was read. (No vocabulary known makes one do so.)
        """
        began = monotonic()
        self._text += readable(text)
        parts = []
        size = self._scorer.max_characters
        while len(self._text) > size:
            whole = last_break(self._text, size) or size
            parts += self._grow(self._text[:size], whole)
            start = next_start(self._text, size, size // 4)
            self._text = self._text[start:]
            self._first += start
            self._begin()
        parts += self._grow(self._text, self._certain(self._text))
        self.seconds += monotonic() - began
        return self._scores(parts), self._seam

    def finish(self) -> TokenScores | None:
        """Return the scores that are left."""
        began = monotonic()
        parts = self._grow(self._text, len(self._text))
        parts += self._placed([s.probabilities for s in self._stream.finish()])
        self.seconds += monotonic() - began
        return self._scores(parts)

    def _begin(self) -> None:
        """Begin a window."""
        self._stream = self._scorer.probe.stream()
        self._ids: list[int] = []  # that were read
        self._waiting: list[tuple[int, int]] = []  # tokens of which that have no scores yet
        if self._prefix and not self._reader.tokens:
            self._reader.push(self._prefix)
            self.tokens += len(self._prefix)
        self._reader.crop(len(self._prefix))

    def _grow(self, text: str, certain: int) -> list[tuple[tuple[int, int], Tensor]]:
        """Read what is certain of the window's text; return tokens and their scores."""
        encoded = self._tokenizer.encode(text, special=False)
        count = next((i for i, (_, end) in enumerate(encoded.offsets) if end > certain), None)
        ids = encoded.ids[:count]
        done = len(self._ids)
        if ids[:done] != self._ids:
            raise UnscoredError("a token changed after it was read")
        if len(ids) == done:
            return []
        values = self._reader.push(ids[done:])
        self.tokens += len(ids) - done
        self._ids = ids
        places = encoded.offsets[done : len(ids)]
        solid = torch.tensor([start < end for start, end in places], device=_device(values))
        self._waiting += [place for place in places if place[0] < place[1]]
        scores = self._stream.push({site: value[solid] for site, value in values.items()})
        return self._placed([score.probabilities for score in scores])

    def _certain(self, text: str) -> int:
        """Up to where tokens stay what they are, and belong to this window."""
        before = max(0, len(text) - _LONGEST_OPEN)
        joint = self._joints.last(text[before:])
        certain = before + joint if joint else len(text) - _SURELY if before else 0
        size = self._scorer.max_characters
        near = near_end(size)  # from there on only words that the window does not cut off
        return certain if certain <= near else min(certain, last_break(text, size) or near)

    def _placed(self, rows: list[Tensor]) -> list[tuple[tuple[int, int], Tensor]]:
        """Scores with their places in the text, but for those that the window before has given."""
        places, self._waiting = self._waiting[: len(rows)], self._waiting[len(rows) :]
        placed = []
        for (start, end), row in zip(places, rows, strict=True):
            start, end = max(start + self._first, self._seam), end + self._first
            if start < end:
                placed.append(((start, end), row))
        if placed:
            self._seam = max(self._seam, placed[-1][0][1])
        return placed

    def _scores(self, parts: list[tuple[tuple[int, int], Tensor]]) -> TokenScores | None:
        if not parts:
            return None
        rows = torch.stack([row for _, row in parts]).float().cpu()
        return TokenScores(torch.tensor([place for place, _ in parts]), rows, self._scorer.labels)


def _device(values: dict[Site, Tensor]) -> torch.device:
    return next(iter(values.values())).device


class SideWatch:
    """A guard over a generation that reads a model of its own.

    Args:
        stream: what decides.
        scorer: the probe and its model.
    """

    runs_a_model = True

    def __init__(self, stream: GuardStream, scorer: ProbeScorer) -> None:
        self.policy = stream.policy
        self.stream = stream
        self.reader = SideReader(scorer)

    def take(self, step: Step) -> Released:
        """Take a step of the engine: its text alone."""
        try:
            released = self.push(step.text)
            if step.finish not in ("stop", "length"):
                return released
            return joined([released, self.finish()])
        except UnscoredError:
            raise
        except Exception as error:
            # Its message may quote the text.
            raise UnscoredError(f"the probe failed ({type(error).__name__})") from None

    def push(self, text: str) -> Released:
        """Take more of a text; return what goes out."""
        scores, scored = self.reader.push(text) if text else (None, 0)
        return self.stream.push(text, scores, scored=scored)

    def finish(self) -> Released:
        """End the text; return what is left."""
        released = self.stream.push("", self.reader.finish())
        return joined([released, self.stream.finish()])
