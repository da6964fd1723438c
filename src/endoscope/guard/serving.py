"""Guards over a generation: what is certain goes out, and actions are carried out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

from endoscope.engine.requests import Finish, Request, Step
from endoscope.errors import InputError
from endoscope.guard.policy import Policy, Rule
from endoscope.guard.released import Fired, Released
from endoscope.guard.scoring import UnscoredError
from endoscope.guard.together import Guarded, Together
from endoscope.guard.watching import Watch
from endoscope.interventions import Intervention


class Generating(Protocol):
    """What guards need of an engine."""

    def submit(self, request: Request) -> AsyncIterator[Step]:
        """Run a request."""
        ...

    def cancel(self, request_id: str) -> None:
        """End a request."""
        ...

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        """Put interventions on a request that runs, from its next token on."""
        ...


@dataclass(frozen=True)
class Escalation:
    """A value that somebody else is to judge.

    Attributes:
        policy: whose it is.
        label: what the probe takes it for.
        score: how sure it is.
        request: id.
        start: first character in the text as the model wrote it.
        end: end, exclusive.
    """

    policy: str
    label: str
    score: float
    request: str
    start: int
    end: int

    def record(self) -> dict[str, Any]:
        """What is posted to a hook. It holds none of the text."""
        return asdict(self)


class Judge(Protocol):
    """Confirms or rejects what a probe has found."""

    def __call__(self, escalation: Escalation, text: str) -> Awaitable[bool]:
        """Return whether it is what the probe takes it for.

        Args:
            escalation: what.
            text: the text so far, as the model wrote it.
        """
        ...


Hook = Callable[[str, dict[str, Any]], Awaitable[bool]]
"""Posts a record to a URL and returns whether the answer confirms it."""


@dataclass
class _Decision:
    """A question that is out: to which guard, about which span."""

    number: int
    start: int


async def guarded(
    engine: Generating,
    request: Request,
    watches: Sequence[Watch],
    *,
    judges: Mapping[str, Judge] | None = None,
    hook: Hook | None = None,
) -> AsyncIterator[Guarded]:
    """Run a request and let out of its text what its guards let out.

    `stop` cancels the request and ends with `content_filter`; `steer` puts the policy's
    interventions on it from its next token on, each label's once; `escalate` asks the hook or the
    judge and holds the value until the answer, which counts as a yes if it does not come in time or
    fails.

    It fails closed: where a guard cannot score the text the request is cancelled, and the last
    thing that comes has the finish `error` and nothing of what was held.

    Args:
        engine: runs the request.
        request: with the readouts that the watches read.
        watches: the guards, the most important first; each for this request alone.
        judges: for policies that name one.
        hook: how hooks are called.

    Raises:
        InputError: a policy needs a judge or a hook that is not there; or as the engine.
    """
    run = _Run(engine, request, watches, judges or {}, hook)
    steps = engine.submit(request)
    try:
        async for part in run.parts(steps):
            yield part
    finally:
        run.close()
        if not run.ended:
            engine.cancel(request.id)


class _Run:
    def __init__(
        self,
        engine: Generating,
        request: Request,
        watches: Sequence[Watch],
        judges: Mapping[str, Judge],
        hook: Hook | None,
    ) -> None:
        for rule in (rule for watch in watches for rule in watch.policy.labels.values()):
            if rule.judge is not None and rule.judge not in judges:
                raise InputError(f"There is no judge {rule.judge!r}.", "Hand it in.")
            if rule.hook is not None and hook is None:
                raise InputError("A policy has a hook, and there is nothing to call it with.")
        self._engine = engine
        self._request = request
        self._watches = watches
        self._judges = judges
        self._hook = hook
        self._together = Together([watch.stream for watch in watches])
        # Read now: a file that is not there must not come to light in the middle of a text.
        self._steering = {
            (number, label): rule.steering(watch.policy.folder)
            for number, watch in enumerate(watches)
            for label, rule in watch.policy.labels.items()
            if rule.action == "steer"
        }
        self._asked: dict[asyncio.Task[bool], _Decision] = {}
        self._text = ""
        self.ended = False  # the engine has nothing more to do for the request

    async def parts(self, steps: AsyncIterator[Step]) -> AsyncIterator[Guarded]:
        """Yield what goes out, the last with its finish."""
        following: asyncio.Task[Step] | None = _next(steps)
        finish: Finish | Literal["content_filter"] | None = None
        error: str | None = None
        try:
            while following is not None or self._asked:
                waiting = {*self._asked, *([following] if following else ())}
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                released = self._answers(done)
                if following in done:
                    step = following.result()  # type: ignore[union-attr]
                    released += await self._take(step)
                    finish, error = step.finish, step.error
                    following = None if finish else _next(steps)
                    self.ended = finish is not None
                if self._together.stopped and finish != "content_filter":
                    finish, error = "content_filter", None
                    self._cancel(following)
                    following = None
                over = finish is not None and not self._asked
                whole = finish in ("stop", "length")
                part = self._together.settle(released, last=over and whole)
                if over:
                    part = replace(part, finish=finish, error=error)
                    yield part
                elif part.text or part.steps or part.spans or part.actions:
                    yield part
        except UnscoredError as failed:
            self._cancel(following)
            yield Guarded(finish="error", error=f"The guard could not score the text: {failed}")

    def close(self) -> None:
        """Drop what was asked and not answered."""
        for task in self._asked:
            task.cancel()

    async def _take(self, step: Step) -> list[tuple[int, Released]]:
        self._text += step.text
        self._together.push(step)
        released = [(i, await take(watch, step)) for i, watch in enumerate(self._watches)]
        for number, part in released:
            for fired in part.fired:
                self._act(number, fired)
        return released

    def _act(self, number: int, fired: Fired) -> None:
        policy = self._watches[number].policy
        rule = policy.labels[fired.span.label]
        if fired.action == "steer":
            # Once: twice the interventions would be twice the strength.
            if interventions := self._steering.pop((number, fired.span.label), None):
                self._engine.intervene(self._request.id, interventions)
        elif fired.action == "escalate":
            task = asyncio.create_task(self._ask(policy, rule, fired))
            self._asked[task] = _Decision(number, fired.span.start)

    async def _ask(self, policy: Policy, rule: Rule, fired: Fired) -> bool:
        """Whether a value is what the probe takes it for; yes, where nobody says."""
        span = fired.span
        escalation = Escalation(
            policy.name, span.label, span.score, self._request.id, span.start, span.end
        )
        with suppress(Exception):
            async with asyncio.timeout(rule.timeout):
                if rule.judge is not None:
                    return await self._judges[rule.judge](escalation, self._text) is not False
                if rule.hook is not None and self._hook is not None:
                    return await self._hook(rule.hook, escalation.record()) is not False
        return True

    def _answers(self, done: set[asyncio.Task[Any]]) -> list[tuple[int, Released]]:
        answered = [(self._asked.pop(task), task.result()) for task in done & {*self._asked}]
        return [
            (one.number, self._watches[one.number].stream.decide(one.start, confirmed))
            for one, confirmed in sorted(answered, key=lambda pair: pair[0].start)
        ]

    def _cancel(self, following: asyncio.Task[Step] | None) -> None:
        if not self.ended:
            self._engine.cancel(self._request.id)
            self.ended = True
        if following is not None:
            following.cancel()


async def take(watch: Watch, step: Step) -> Released:
    """Let a watch take a step; in a thread, if it runs a model of its own."""
    if getattr(watch, "runs_a_model", False):
        return await asyncio.to_thread(watch.take, step)
    return watch.take(step)


def _next(steps: AsyncIterator[Step]) -> asyncio.Task[Step]:
    async def one() -> Step:
        return await anext(steps)

    return asyncio.create_task(one())
