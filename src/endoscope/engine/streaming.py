"""Requests from any thread and any event loop, run by one worker."""

import asyncio
import atexit
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from endoscope.engine.preparing import Preparing
from endoscope.engine.requests import NO_TOKEN, Finish, Request, Step
from endoscope.engine.running import Running
from endoscope.errors import InputError
from endoscope.interventions import Compiled, Intervention


class EngineFailedError(RuntimeError):
    """The worker has ended, by a fault of ours or because the engine was closed."""


class Runs(Protocol):
    """What runs requests, a step at a time; see `Core`."""

    prepare: Preparing

    @property
    def idle(self) -> bool: ...  # noqa: D102
    def enter(self, running: Running) -> None: ...  # noqa: D102
    def cancel(self, request_id: str) -> None: ...  # noqa: D102
    def intervene(self, request_id: str, more: Compiled) -> None: ...  # noqa: D102
    def step(self) -> list[tuple[str, Step]]: ...  # noqa: D102


class _Sink(NamedTuple):
    """Where the steps of a request go: `put` is called in the loop, or in the worker's thread."""

    loop: asyncio.AbstractEventLoop | None
    put: Callable[[Step], None]


class Streams:
    """One thread that owns a core and runs it while there is work.

    Args:
        core: what runs the requests.
        lock: held during a step, and while requests enter; who else runs the model holds it too.
    """

    def __init__(self, core: Runs, lock: AbstractContextManager[object]) -> None:
        self._core = core
        self._lock = lock
        self._changed = threading.Condition()
        self._sinks: dict[str, _Sink] = {}
        self._todo: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        self._fault: str | None = None

    @property
    def alive(self) -> bool:
        """Whether requests can be submitted: it was not closed and has not failed."""
        return not self._closed

    def submit(self, request: Request) -> "Steps":
        """Let a request run; iterate over what is returned, in the event loop that calls this.

        Raises:
            InputError: the request cannot run on this model, or its id is in use.
            EngineFailedError: the engine has ended.
        """
        queue: asyncio.Queue[Step] = asyncio.Queue()
        self._start(request, _Sink(asyncio.get_running_loop(), queue.put_nowait))
        return Steps(queue, lambda: self.cancel(request.id))

    def iterate(self, request: Request) -> Iterator[Step]:
        """Run a request and yield its steps as they come; for callers without an event loop.

        Raises:
            InputError, EngineFailedError: as `submit`.
        """
        queue: SimpleQueue[Step] = SimpleQueue()
        self._start(request, _Sink(None, queue.put))
        return self._drain(request.id, queue)

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[str, Step]]:
        """Run requests to their end and yield their steps with their ids, as they come.

        Raises:
            InputError, EngineFailedError: as `submit`.
        """
        queue: SimpleQueue[tuple[str, Step]] = SimpleQueue()
        left: set[str] = set()
        try:
            for request in requests:
                self._start(request, _Sink(None, partial(_named, queue, request.id)))
                left.add(request.id)
            while left:
                name, step = queue.get()
                if step.finish is not None:
                    left.discard(name)
                yield name, step
        finally:
            for name in left:
                self.cancel(name)

    def intervene(self, request_id: str, interventions: Sequence[Intervention]) -> None:
        """Change a request that runs, from its next forward pass on. Unknown ones are ignored.

        Raises:
            InputError: an intervention does not fit the model.
        """
        compiled = self._core.prepare.compile(interventions)
        self._tell(lambda: self._core.intervene(request_id, compiled))

    def cancel(self, request_id: str) -> None:
        """End a request before its next token; its last step says so. Unknown ones are ignored."""
        self._tell(lambda: self._core.cancel(request_id))

    def close(self) -> None:
        """End all requests and the worker; returns when it has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        atexit.unregister(self.close)

    def _drain(self, request_id: str, queue: SimpleQueue[Step]) -> Iterator[Step]:
        finished = False
        try:
            while not finished:
                step = queue.get()
                finished = step.finish is not None
                yield step
        finally:
            if not finished:
                self.cancel(request_id)

    def _start(self, request: Request, sink: _Sink) -> None:
        running = self._core.prepare(request)
        with self._changed:
            if self._fault is not None or self._closed:
                raise EngineFailedError(self._fault or "The engine is closed.")
            if request.id in self._sinks:
                raise InputError("A request of this id is running.", "Give each its own.")
            self._sinks[request.id] = sink
            self._todo.append(lambda: self._core.enter(running))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="endoscope", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify()

    def _tell(self, action: Callable[[], None]) -> None:
        with self._changed:
            self._todo.append(action)
            self._changed.notify()

    def _work(self) -> None:
        try:
            while self._wait():
                with self._lock:
                    steps = self._core.step()
                self._deliver(steps)
        except BaseException as error:  # whatever it is, nobody must wait for ever
            self._end_all("error", f"The engine failed ({type(error).__name__}).")
            raise
        self._end_all("cancelled", None)

    def _wait(self) -> bool:
        """Wait for work and do what was asked for meanwhile; say whether to go on."""
        with self._changed:
            while not (self._closed or self._todo or not self._core.idle):
                self._changed.wait()
            todo, self._todo = self._todo, []
        with self._lock:
            for action in todo:
                action()
        return not self._closed

    def _deliver(self, steps: Iterable[tuple[str, Step]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop | None, list[tuple[_Sink, Step]]]
        by_loop = defaultdict(list)
        with self._changed:
            for request_id, step in steps:
                ended = step.finish is not None
                sink = self._sinks.pop(request_id) if ended else self._sinks[request_id]
                by_loop[sink.loop].append((sink, step))
        for loop, puts in by_loop.items():
            if loop is None:
                _put(puts)
                continue
            try:
                loop.call_soon_threadsafe(_put, puts)
            except RuntimeError:  # the loop is closed, and who listened there is gone
                self._forget(loop)

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            gone = [name for name, sink in self._sinks.items() if sink.loop is loop]
        for name in gone:
            self.cancel(name)

    def _end_all(self, finish: Finish, fault: str | None) -> None:
        with self._changed:
            self._closed = True
            self._fault = fault
            names = list(self._sinks)
        end = Step(0, NO_TOKEN, "", (0, 0), finish=finish, error=fault)
        self._deliver([(name, end) for name in names])


class Steps(AsyncIterator[Step]):
    """The steps of one request. Who goes away before the last one cancels it."""

    def __init__(self, queue: "asyncio.Queue[Step]", cancel: Callable[[], None]) -> None:
        self._queue = queue
        self._cancel = cancel
        self._ended = False

    async def __anext__(self) -> Step:
        """Wait for the next step."""
        if self._ended:
            raise StopAsyncIteration
        try:
            step = await self._queue.get()
        except BaseException:
            self._leave()
            raise
        self._ended = step.finish is not None
        return step

    async def aclose(self) -> None:
        """Cancel the request, unless it has ended; nothing comes any more."""
        self._leave()

    def _leave(self) -> None:
        if not self._ended:
            self._ended = True
            self._cancel()

    def __del__(self) -> None:
        self._leave()


def _named(queue: "SimpleQueue[tuple[str, Step]]", name: str, step: Step) -> None:
    queue.put((name, step))


def _put(puts: Iterable[tuple[_Sink, Step]]) -> None:
    for sink, step in puts:
        sink.put(step)
