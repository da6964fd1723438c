"""What a server has loaded, by name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from endoscope.guard.serving import Generating
from endoscope.models import TextTokenizer, Vocabulary
from endoscope.readouts import Readout
from endoscope.server.auth import Keys
from endoscope.server.errors import ApiError

if TYPE_CHECKING:
    from endoscope.interventions import Intervention
    from endoscope.server.guards import ServedGuard
    from endoscope.server.variants import Variant

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How much a client may ask for.

    Attributes:
        requests: generations at once.
        waiting: generations that may wait.
        prompt_tokens: of one prompt.
        tokens: generated, of one answer.
        seconds: for one request, waiting included.
    """

    requests: int = 16
    waiting: int = 64
    prompt_tokens: int = 4096
    tokens: int = 1024
    seconds: float = 120.0


@dataclass(frozen=True)
class Served:
    """A model and all that requests can name.

    Attributes:
        name: of the model, as clients say it.
        engine: runs requests.
        tokenizer: of the model.
        context: the most tokens that the model can have before it; None: no limit.
        fingerprint: which model it is, short.
        check: refuses interventions that do not fit the model.
        alive: whether the engine still works.
        probes: what requests can read.
        directions: what their interventions can name.
        guards: what their answers can go through.
        variants: the model under other names.
        limits: how much a client may ask for.
        keys: who may ask.
    """

    name: str
    engine: Generating
    tokenizer: TextTokenizer
    context: int | None
    fingerprint: str
    check: Callable[[Sequence["Intervention"]], object]
    alive: Callable[[], bool]
    probes: Mapping[str, Readout] = field(default_factory=dict)
    directions: Mapping[str, Any] = field(default_factory=dict)
    guards: Mapping[str, "ServedGuard"] = field(default_factory=dict)
    variants: Mapping[str, "Variant"] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    keys: Keys = field(default_factory=Keys)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Tokens to text."""
        return Vocabulary(self.tokenizer.hf)

    @property
    def models(self) -> list[str]:
        """All names that a request can give as its model."""
        return [self.name, *self.variants]


def named(things: Mapping[str, T], name: str, what: str, param: str) -> T:
    """Return one of the loaded things.

    Raises:
        ApiError: 404, with the names that there are.
    """
    if name in things:
        return things[name]
    raise missing(things, name, what, param)


def missing(known: Iterable[str], name: str, what: str, param: str) -> ApiError:
    """Return the 404 of a name that does not stand for anything."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}."
    return ApiError(
        404, f"This server has no {what} of this name: {hint}", param=param, code=f"no_such_{what}"
    )
