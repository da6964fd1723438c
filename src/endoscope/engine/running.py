"""One request while it runs."""

from dataclasses import replace

from endoscope.engine.readings import RequestReadings
from endoscope.engine.requests import NO_TOKEN, Finish, Request, Step, TokenLogprob
from endoscope.engine.sampling import Choice, Chooser
from endoscope.engine.text_stream import Added, TextStream
from endoscope.interventions import Compiled
from endoscope.models import Vocabulary


class Running:
    """A request and how far it is.

    Args:
        request: what was asked for.
        compiled: its interventions; None: it has none.
        vocabulary: of the model.
        ends: the end-of-text tokens.
        unscored: how many tokens at the start of the prompt were added to it (BOS).

    Attributes:
        readings: its readouts; None: it has none.
        chooser: how its tokens are chosen.
        ends: the tokens that end its text.
        slot: its number among the interventions; 0: it has none.
        done: how many of its tokens have been through the model.
        last: its last step, while the last token still goes through the model to be read.
        fault: why it cannot go on, if it cannot.
    """

    def __init__(
        self,
        request: Request,
        compiled: Compiled | None,
        vocabulary: Vocabulary,
        *,
        ends: frozenset[int],
        unscored: int,
    ) -> None:
        self.request = request
        self.compiled = compiled
        self.unscored = unscored
        self.readings = RequestReadings(request.readouts, unscored) if request.readouts else None
        self.chooser = Chooser(request.sampling)
        self.slot = 0
        self.done = 0
        self.last: Step | None = None
        self.fault: str | None = None
        self._vocabulary = vocabulary
        self.ends = frozenset[int]() if request.sampling.ignore_eos else ends
        self._text = TextStream(vocabulary, request.sampling.stop)
        self._generated: list[int] = []

    @property
    def prompt_left(self) -> int:
        """How many tokens of the prompt have not been through the model."""
        return max(0, len(self.request.token_ids) - self.done)

    @property
    def longest(self) -> int:
        """The most tokens that it can come to."""
        return len(self.request.token_ids) + self.request.sampling.max_tokens

    @property
    def token(self) -> int:
        """The token that goes through the model next, once the prompt has."""
        return self._generated[-1]

    def take(self, choice: Choice | None) -> Step | None:
        """Take what a pass brought; return the step that is due.

        None is due while the last token of a text is yet to be read. The end-of-text token stands
        for no text, so nothing is read there.

        Args:
            choice: the token that follows; None: none does, as the last was read.
        """
        if self.fault is not None:
            return self.end("error", self.fault)
        if choice is None:
            assert self.last is not None
            return self._read_out(self.last)
        if not choice.finite:
            return self.end("error", "The model's output is not finite.")
        self._generated.append(choice.token_id)
        added, finish = self._add(choice.token_id)
        step = Step(
            position=len(self.request.token_ids) + len(self._generated) - 1,
            token_id=choice.token_id,
            text=added.text,
            span=added.span,
            logprob=choice.logprob,
            top=tuple(
                TokenLogprob(token, self._vocabulary.text(token), value)
                for token, value in choice.top
            ),
            finish=finish,
        )
        if self.readings is None:
            return step
        if finish is None:
            return replace(step, readings=self.readings.ready())
        if choice.token_id in self.ends:
            return self._read_out(step)
        self.last = step
        return None

    def _read_out(self, last: Step) -> Step:
        assert self.readings is not None
        left = self.readings.finish()
        if self.readings.fault is not None:
            return self.end("error", self.readings.fault)
        return replace(last, readings=left)

    def _add(self, token: int) -> tuple[Added, Finish | None]:
        if token in self.ends:
            return self._text.finish(), "stop"
        added = self._text.push(token)
        if added.stopped:
            return added, "stop"
        if len(self._generated) < self.request.sampling.max_tokens:
            return added, None
        rest = self._text.finish()
        whole = added._replace(text=added.text + rest.text)
        return whole, "stop" if rest.stopped else "length"

    def end(self, finish: Finish, error: str | None = None) -> Step:
        """Return a step that ends the request without a token."""
        position = len(self.request.token_ids) + len(self._generated)
        text = "" if finish == "error" else self._text.finish().text
        end = self._text.end
        return Step(position, NO_TOKEN, text, (end, end), finish=finish, error=error)
