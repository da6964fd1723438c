"""What a request asks of the workers, as text that goes through vLLM untouched."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from endoscope.engine.vllm.kept import kept
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention, compile_interventions
from endoscope.interventions.parsing import parse_interventions
from endoscope.models.sites import Site
from endoscope.models.tokens import unscored
from endoscope.readouts import Readout


@dataclass(frozen=True, eq=False)
class Order:
    """What is read and changed while a request runs.

    Attributes:
        interventions: in order.
        norms: the typical norms that strengths are multiples of, by site.
        readouts: by name.
        sites: whose values are wanted themselves, from `first` on.
        first: the first position of those.
        prompt: how many tokens count as the prompt; None: those that it begins with.
        prefix: the tokens that the tokenizer puts before a text (BOS); a prompt that begins with
            them is read from there on.
    """

    interventions: tuple[Intervention, ...] = ()
    norms: Mapping[Site, float] = field(default_factory=dict)
    readouts: Mapping[str, Readout] = field(default_factory=dict)
    sites: tuple[Site, ...] = ()
    first: int = 0
    prefix: tuple[int, ...] = ()
    prompt: int | None = None

    @cached_property
    def changes(self) -> str:
        """The interventions as JSON."""
        return _text([one.model_dump(mode="json") for one in self.interventions])

    @cached_property
    def text(self) -> str:
        """The order as JSON; `parse` makes it again.

        Readouts and interventions are texts within it, so that a worker which knows one need not
        read it again.
        """
        return json.dumps(
            {
                "interventions": self.changes,
                "norms": {str(site): norm for site, norm in self.norms.items()},
                "readouts": {name: _text(one.record()) for name, one in self.readouts.items()},
                "sites": [str(site) for site in self.sites],
                "first": self.first,
                "prefix": list(self.prefix),
                "prompt": self.prompt,
            }
        )

    def unscored(self, ids: Sequence[int]) -> int:
        """Return how many tokens at the start of a prompt were added to it."""
        return unscored(self.prefix, ids)

    @cached_property
    def read_sites(self) -> frozenset[Site]:
        """Where workers read: what readouts need, and what is wanted itself."""
        needed = (one.spec.sites for one in self.readouts.values())
        return frozenset(self.sites).union(*needed)

    @property
    def asks(self) -> bool:
        """Whether it asks for anything."""
        return bool(self.interventions or self.readouts or self.sites)

    @property
    def reads_all(self) -> bool:
        """Whether every token must pass through the model: none may come from a prefix cache."""
        gated = any(one.gate is not None for one in self.interventions)
        return bool(self.readouts or self.sites or gated)

    def compile(self, d_model: int) -> Compiled:
        """Make the interventions ready; the same ones give the same object.

        Raises:
            InputError: they do not fit the model.
        """
        return _compiled(self.changes, self._norms, d_model)

    @cached_property
    def _norms(self) -> str:
        return _text(sorted((str(site), norm) for site, norm in self.norms.items()))

    def prompt_length(self, ids: Sequence[int]) -> int:
        """Return how many tokens of a text count as the prompt."""
        return len(ids) if self.prompt is None else self.prompt

    def salt(self, salt: str | None, ids: Sequence[int]) -> str | None:
        """Return what sets the cached keys and values of this request apart from others'.

        Keys and values depend on all that is changed, and on nothing that is only read. Where it
        is changed within the prompt or after it, they depend on where the prompt ends: what one
        request generated may be the prompt of the next.

        Args:
            salt: the client's own.
            ids: of the prompt.
        """
        if not self.interventions:
            return salt
        ends = {one.positions for one in self.interventions} & {"prompt", "generated"}
        end = self.prompt_length(ids) if ends else None
        digest = hashlib.sha256(_text([salt, self.changes, self._norms, end]).encode())
        return f"endoscope-{digest.hexdigest()}"


def parse(text: str) -> Order:
    """Read an order.

    Raises:
        InputError: it is none.
    """
    try:
        record = json.loads(text)
        order = Order(
            interventions=_interventions(record["interventions"]),
            norms={Site.parse(site): float(norm) for site, norm in record["norms"].items()},
            readouts={name: _readout(one) for name, one in record["readouts"].items()},
            sites=tuple(map(Site.parse, record["sites"])),
            first=int(record["first"]),
            prefix=tuple(map(int, record["prefix"])),
            prompt=None if record["prompt"] is None else int(record["prompt"]),
        )
        vars(order)["changes"] = record["interventions"]  # as it is known here
        return order
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError("`endoscope` is no order.", "Send it through the engine.") from None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


@kept
def _interventions(text: str) -> tuple[Intervention, ...]:
    return parse_interventions(json.loads(text))


@kept
def _readout(text: str) -> Readout:
    return Readout.from_record(json.loads(text))


@kept
def _compiled(interventions: str, norms: str, d_model: int) -> Compiled:
    known = {Site.parse(site): norm for site, norm in json.loads(norms)}
    return compile_interventions(_interventions(interventions), d_model, known.__getitem__)
