"""Running what was prepared: places, time limits, cancelling, and what is counted."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from anyio import CancelScope

from endoscope.engine.requests import Request
from endoscope.engine.streaming import EngineFailedError
from endoscope.errors import InputError
from endoscope.server.errors import ApiError, bad_input, overloaded
from endoscope.server.guards import guarded_pieces
from endoscope.server.metrics import Metrics
from endoscope.server.pieces import Piece, plain
from endoscope.server.prepare import Prepared
from endoscope.server.served import Served
from endoscope.server.slots import Slots

_LATE = 10.0  # seconds that an engine has to end what was cancelled


class Worker:
    """Runs the generations of a server.

    Args:
        served: what is loaded.
        metrics: where everything is counted.
    """

    def __init__(self, served: Served, metrics: Metrics) -> None:
        self.served = served
        self.metrics = metrics
        self.slots = Slots(served.limits.requests, served.limits.waiting)
        self._active: set[Job] = set()
        metrics.watch(lambda: self.slots.running, lambda: self.slots.waiting)

    def start(self, prepared: Prepared, note: dict[str, Any]) -> "Job":
        """Return the job of a request; nothing runs before it is iterated over.

        Raises:
            ApiError: 429, or 503 where the engine has died.
        """
        if not self.served.alive():
            raise overloaded(503, "The model does not run: try later.", "engine_failed", 10)
        self.slots.admit()
        return Job(self, prepared, note)

    def cut(self) -> None:
        """End what runs with what it has so far."""
        for job in self._active:
            job.expire()

    def enter(self, job: "Job") -> None:
        """Count a job as running."""
        self._active.add(job)

    def leave(self, job: "Job") -> None:
        """Forget a job."""
        self._active.discard(job)


class Job:
    """One request on its way: all of its choices.

    Args:
        worker: runs it.
        prepared: what was asked for.
        note: of its log line; figures and names are put there.

    Attributes:
        timed_out: whether it was ended before it was done.
        completion_tokens: generated so far, over all choices.
    """

    def __init__(self, worker: Worker, prepared: Prepared, note: dict[str, Any]) -> None:
        self.prepared = prepared
        self.timed_out = False
        self.completion_tokens = 0
        self._worker = worker
        self._served = worker.served
        self._metrics = worker.metrics
        self._note = note
        self._began = time.monotonic()
        self._first: float | None = None
        self._outcomes: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._running: set[str] = set()

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece]]:
        """Yield what each choice gives, with its number, as it comes.

        Leaving the iteration cancels what still runs.

        Raises:
            ApiError: a choice failed, or had no place in time.
        """
        queue: asyncio.Queue[tuple[int, Piece] | Exception] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._choice(number, request, queue))
            for number, request in enumerate(self.prepared.requests)
        ]
        self._worker.enter(self)
        left = len(tasks)
        try:
            while left:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                left -= item[1].finish is not None
        finally:
            self._worker.leave(self)
            for task in tasks:
                task.cancel()
            with CancelScope(shield=True):
                await asyncio.gather(*tasks, return_exceptions=True)
            self._write_note()

    def expire(self) -> None:
        """End all choices at their next token, with what they have."""
        self.timed_out = True
        for name in list(self._running):
            self._served.engine.cancel(name)

    async def _choice(
        self, number: int, request: Request, queue: "asyncio.Queue[tuple[int, Piece] | Exception]"
    ) -> None:
        outcome = "disconnected"
        try:
            outcome = await self._run(number, request, queue)
        except Exception as error:
            told = _told(error)
            late = isinstance(told, ApiError) and told.code == "timeout"
            outcome = "timeout" if late else "error"
            queue.put_nowait(told)
        finally:
            self._outcomes[outcome] += 1
            self._metrics.generations.labels(self.prepared.model, outcome).inc()

    async def _run(
        self, number: int, request: Request, queue: "asyncio.Queue[tuple[int, Piece] | Exception]"
    ) -> str:
        """Put the pieces of one choice into the queue; return how it ended."""
        loop, seconds = asyncio.get_running_loop(), self._served.limits.seconds
        deadline = self._began + seconds
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._worker.slots.take()
        except TimeoutError:
            queue.put_nowait((number, self._out_of_time(Piece())))
            return "timeout"
        timer = loop.call_later(deadline - time.monotonic(), self.expire)
        self._running.add(request.id)
        try:
            async with asyncio.timeout(deadline + _LATE - time.monotonic()):
                async with aclosing(self._stream(request)) as stream:
                    async for piece in stream:
                        queue.put_nowait((number, piece))
                        if piece.finish is not None:
                            return "timeout" if self.timed_out else str(piece.finish)
        except TimeoutError:
            raise overloaded(503, "The model does not answer.", "engine_failed", 10) from None
        finally:
            timer.cancel()
            self._running.discard(request.id)
            self._worker.slots.give()
        raise ApiError(500, "The model ended without a word.", code="internal_error")

    async def _stream(self, request: Request) -> AsyncGenerator[Piece]:
        """The pieces of one choice, counted."""
        if self.prepared.guards:
            pieces = guarded_pieces(self._served, request, self.prepared.guards)
        else:
            pieces = plain(self._served.engine.submit(request))
        before: float | None = None
        self._metrics.tokens.labels(self.prepared.model, "prompt").inc(len(request.token_ids))
        finished = False
        try:
            async with aclosing(pieces) as source:
                async for piece in source:
                    before = self._count(piece, before)
                    finished = piece.finish is not None
                    if piece.finish == "error":
                        raise ApiError(500, piece.error or "The model failed.", code="engine_error")
                    yield self._out_of_time(piece) if piece.finish == "cancelled" else piece
        finally:
            if not finished:
                self._served.engine.cancel(request.id)

    def _out_of_time(self, piece: Piece) -> Piece:
        """Return the last piece of a choice that was ended from here.

        Raises:
            ApiError: nothing has come of the whole request.
        """
        self.timed_out = True
        if not self.completion_tokens:
            message = "The server was too busy for this request: try again."
            raise overloaded(503, message, "timeout", 5)
        return replace(piece, finish="length")

    def _count(self, piece: Piece, before: float | None) -> float:
        """Count a piece; returns now."""
        now, model = time.monotonic(), self.prepared.model
        count = sum(step.token_id >= 0 for step in piece.tokens)  # an end may have no token
        if count:
            self.completion_tokens += count
            self._metrics.tokens.labels(model, "generated").inc(count)
            if before is None:
                self._metrics.first_token.labels(model).observe(now - self._began)
            else:
                each = (now - before) / count
                for _ in range(count):
                    self._metrics.each_token.labels(model).observe(each)
            self._first = self._first or now
        for probe, scores in piece.readings.items():
            for _, value in scores:
                self._metrics.scores.labels(probe).observe(value)
        found = [(one.policy, one.label, one.action) for one in piece.spans]
        found += [(one.policy, one.label, one.action) for one in piece.actions]
        for policy, label, action in found:
            self._metrics.guard.labels(policy, label, action).inc()
            self._found[f"{label}:{action}"] += 1
        for cost in piece.costs:
            self._metrics.side_seconds.labels(cost.policy, cost.model).inc(cost.seconds)
        return now

    def _write_note(self) -> None:
        self._note |= {
            "model": self.prepared.model,
            "prompt_tokens": self.prepared.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "first_token": None if self._first is None else round(self._first - self._began, 4),
            "outcomes": dict(self._outcomes),
            "found": dict(self._found) or None,
        }


def _told(error: Exception) -> Exception:
    """What the client is told of what went wrong in the rooms below."""
    if isinstance(error, InputError):
        return bad_input(error)
    if isinstance(error, EngineFailedError):
        return overloaded(503, "The model does not run: try later.", "engine_failed", 10)
    return error
