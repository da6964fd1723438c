"""Listening, and ending without cutting anybody off."""

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from endoscope.errors import InputError
from endoscope.server.edge import Edge
from endoscope.server.logs import log

_LAST = 5.0  # seconds that an answer which was cut has to reach its client


class Server(uvicorn.Server):
    """Serves an application until it is told to end.

    At the first SIGINT or SIGTERM new requests get 503 and those that run may finish; after the
    grace period, or at a second signal, they are cancelled.

    Args:
        edge: the application.
        host: where to listen.
        port: where to listen; 0 takes a free one.
        ready: called with the URL when it listens.
        grace: seconds that running requests have after the first signal.
        cut: called when that is over, to let them end with what they have.
    """

    def __init__(
        self,
        edge: Edge,
        host: str,
        port: int,
        *,
        ready: Callable[[str], None] = lambda url: None,
        grace: float = 30.0,
        cut: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                edge,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=3,
                lifespan="on",
            )
        )
        self.edge = edge
        self.grace = grace
        self.url = ""
        self._ready = ready
        self._cut = cut
        self._hurry = False
        self._ending: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self) -> None:
        """Serve on this thread until told to end.

        Raises:
            InputError: the address is taken, or is none of this machine's.
        """
        with _bound(self.config.host, self.config.port) as listening:
            self.url = _url(self.config.host, listening.getsockname()[1])
            self.run(sockets=[listening])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            log("listening", url=self.url)
            self._ready(self.url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; the second time, end at once."""
        del frame
        if self._loop is None or sig not in (signal.SIGINT, signal.SIGTERM):
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        """Take no more requests, and end when those that run have finished."""
        if self._ending is not None:
            self._hurry = True
            return
        self.edge.draining = True
        log("ending", running=self.edge.running, grace=self.grace)
        self._ending = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        await self._quiet(self.grace)
        if self.edge.running:
            self._cut()
            self._hurry = False
            await self._quiet(_LAST)
        log("ended", cancelled=self.edge.running)
        if self.edge.running:
            self.config.timeout_graceful_shutdown = 0  # cancel them now
        self.should_exit = True

    async def _quiet(self, seconds: float) -> None:
        """Wait until nothing runs, or somebody is in a hurry."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.edge.running and not self._hurry:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.02)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or "no such address"
        raise InputError(
            f"Cannot listen at {host}:{port}: {reason}.", "Give another --host or --port."
        ) from error
    return listening


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
