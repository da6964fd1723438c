"""One request while it runs."""

from dataclasses import replace

from endoscope.engine.readings import RequestReadings
from endoscope.engine.requests import Finish, Request, Step, TokenLogprob
from endoscope.engine.sampling import Choice, Chooser
from endoscope.engine.text_stream import Added, TextStream
from endoscope.interventions import Compiled
from endoscope.models import Vocabulary

NO_TOKEN = -1


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
        slot: its number among the interventions; 0: it has none.
        done: how many of its tokens have been through the model.
        last: its last step, while the last token still goes through the model to be read.
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
        self._vocabulary = vocabulary
        self._ends = frozenset[int]() if request.sampling.ignore_eos else ends
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

    @property
    def read_all(self) -> bool:
        """Whether its last token has been through the model."""
        return self.done == len(self.request.token_ids) + len(self._generated)

    def take(self, choice: Choice) -> Step | None:
        """Take the token that follows; return its step, unless it ends the text and is to be read.

        The end-of-text token stands for no text, so nothing is read there.
        """
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
        if choice.token_id in self._ends:
            return replace(step, readings=self.readings.finish())
        self.last = step
        return None

    def _add(self, token: int) -> tuple[Added, Finish | None]:
        if token in self._ends:
            return self._text.finish(), "stop"
        added = self._text.push(token)
        if added.stopped:
            return added, "stop"
        if len(self._generated) < self.request.sampling.max_tokens:
            return added, None
        rest = self._text.finish()
        whole = added._replace(text=added.text + rest.text)
        return whole, "stop" if rest.stopped else "length"

    def finish(self) -> Step:
        """Return the last step, once its token has been read."""
        assert self.last is not None
        assert self.readings is not None
        return replace(self.last, readings=self.readings.finish())

    def end(self, finish: Finish, error: str | None = None) -> Step:
        """Return a step that ends the request without a token."""
        position = len(self.request.token_ids) + len(self._generated)
        text = "" if finish == "error" else self._text.finish().text
        end = self._text.end
        return Step(position, NO_TOKEN, text, (end, end), finish=finish, error=error)
