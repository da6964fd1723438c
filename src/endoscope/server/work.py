"""Running what was prepared: places, time limits, cancelling, and what is counted."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from anyio import CancelScope

from endoscope.engine.requests import Request, Step
from endoscope.engine.streaming import EngineFailedError
from endoscope.errors import InputError
from endoscope.guard.judge import PromptedJudge
from endoscope.guard.serving import Generating, Hook
from endoscope.server.account import Account
from endoscope.server.errors import ApiError, bad_input, overloaded
from endoscope.server.guards import JUDGE, guarded_pieces
from endoscope.server.metrics import Metrics
from endoscope.server.pieces import Piece, plain
from endoscope.server.prepare import Prepared
from endoscope.server.served import Served
from endoscope.server.slots import Slots

Pieces = asyncio.Queue[tuple[int, Piece] | Exception]
"""What the choices of a request give, with their numbers."""
_LATE = 10.0  # seconds that an engine has to end what was cancelled


class Worker:
    """Runs the generations of a server.

    Args:
        served: what is loaded.
        metrics: where everything is counted.
        hook: how policies that escalate call a URL.
    """

    def __init__(self, served: Served, metrics: Metrics, hook: Hook | None = None) -> None:
        self.served = served
        self.metrics = metrics
        self.hook = hook
        # Not through the engine that counts: what a judge says is no answer to a client.
        self.judges = {JUDGE: PromptedJudge(served.engine, served.tokenizer)}
        self.slots = Slots(served.limits.requests, served.limits.waiting)
        self._active: set[Job] = set()
        metrics.watch(lambda: self.slots.running, lambda: self.slots.waiting)

    def start(self, prepared: Prepared, note: dict[str, Any]) -> "Job":
        """Return the job of a request; nothing runs before it is iterated over.

        Raises:
            ApiError: 429, or 503 where the engine has died.
        """
        if not self.served.alive():
            raise _dead()
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
    """

    def __init__(self, worker: Worker, prepared: Prepared, note: dict[str, Any]) -> None:
        self.prepared = prepared
        self.timed_out = False
        self._worker = worker
        self._served = worker.served
        self._account = Account(worker.metrics, prepared.model, prepared.prompt_tokens)
        self._engine = _Counting(worker.served.engine, self._account)
        self._note = note
        self._running: set[str] = set()

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far, over all choices."""
        return self._account.tokens

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece]]:
        """Yield what each choice gives, with its number, as it comes.

        Leaving the iteration cancels what still runs.

        Raises:
            ApiError: a choice failed, or had no place in time.
        """
        queue: Pieces = asyncio.Queue()
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
            self._note |= self._account.note()

    def expire(self) -> None:
        """End all choices at their next token, with what they have."""
        self.timed_out = True
        for name in list(self._running):
            self._engine.cancel(name)

    async def _choice(self, number: int, request: Request, queue: "Pieces") -> None:
        """Run one choice and count how it ended."""
        outcome = "disconnected"
        try:
            outcome = await self._run(number, request, queue)
        except Exception as error:
            told = _told(error)
            late = isinstance(told, ApiError) and told.code == "timeout"
            outcome = "timeout" if late else "error"
            queue.put_nowait(told)
        finally:
            self._account.outcome(outcome)

    async def _run(self, number: int, request: Request, queue: "Pieces") -> str:
        """Put the pieces of one choice into the queue; return how it ended."""
        deadline = self._account.began + self._served.limits.seconds
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._worker.slots.take()
        except TimeoutError:
            queue.put_nowait((number, self._out_of_time(Piece())))
            return "timeout"
        loop = asyncio.get_running_loop()
        timer = loop.call_later(deadline - time.monotonic(), self.expire)
        self._running.add(request.id)
        try:
            if self.timed_out:  # the server ended while it waited
                queue.put_nowait((number, self._out_of_time(Piece())))
                return "timeout"
            async with asyncio.timeout(deadline + _LATE - time.monotonic()):
                async with aclosing(self._stream(request)) as stream:
                    async for piece in stream:
                        queue.put_nowait((number, piece))
                        if piece.finish is not None:
                            return "timeout" if self.timed_out else str(piece.finish)
        except TimeoutError:
            raise _dead() from None
        finally:
            timer.cancel()
            self._running.discard(request.id)
            self._worker.slots.give()
        raise ApiError(500, "The model ended without a word.", code="internal_error")

    async def _stream(self, request: Request) -> AsyncGenerator[Piece]:
        """The pieces of one choice, counted; leaving it ends the request."""
        if self.prepared.guards:
            guards = [self._served.guards[name] for name in self.prepared.guards]
            worker = self._worker
            pieces = guarded_pieces(self._engine, request, guards, worker.hook, worker.judges)
        else:
            pieces = plain(self._engine.submit(request))
        finished = False
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    self._account.piece(piece)
                    finished = piece.finish is not None
                    if piece.finish == "error":
                        raise ApiError(500, piece.error or "The model failed.", code="engine_error")
                    yield self._out_of_time(piece) if piece.finish == "cancelled" else piece
        finally:
            if not finished:
                self._engine.cancel(request.id)

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


class _Counting:
    """An engine whose steps are counted on their way, before any guard holds them.

    Args:
        engine: runs the requests.
        account: counts.
    """

    def __init__(self, engine: Generating, account: Account) -> None:
        self._engine = engine
        self._account = account
        self.cancel = engine.cancel
        self.intervene = engine.intervene

    def submit(self, request: Request) -> AsyncGenerator[Step]:
        """Run a request."""
        return self._account.steps(self._engine.submit(request))


def _told(error: Exception) -> Exception:
    """What the client is told of what went wrong in the rooms below."""
    if isinstance(error, InputError):
        return bad_input(error)
    return _dead() if isinstance(error, EngineFailedError) else error


def _dead() -> ApiError:
    return overloaded(503, "The model does not run: try later.", "engine_failed", 10)
