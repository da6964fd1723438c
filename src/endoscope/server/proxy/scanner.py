"""Scanning the texts of requests: on one thread, in turns, and the same text once."""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from secrets import token_bytes
from typing import ParamSpec, TypeVar

from endoscope.guard import Guard, Span, UnscoredError
from endoscope.server.errors import ApiError, overloaded

_BATCH = 8_000  # characters scanned at once; between batches other requests have their turn
_MOST_WAITING = 64  # requests
_MOST_KEPT = 20_000  # texts whose spans are kept, some 10 MB

P = ParamSpec("P")
T = TypeVar("T")


class Scanner:
    """Scans texts with a guard.

    Clients send a conversation again with every turn, so what was found in a text is kept: its
    keyed hash, and where spans were and what they were. Never a text.

    Args:
        guard: finds what its policy names.
        most_characters: the longest request, without what was scanned before.
    """

    def __init__(self, guard: Guard, most_characters: int) -> None:
        self.guard = guard
        self._most = most_characters
        self._key = token_bytes(32)
        self._kept: OrderedDict[bytes, list[Span]] = OrderedDict()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "scan")

    async def scan(self, texts: Iterable[str], owner: bytes) -> dict[str, list[Span]]:
        """Return the spans of texts that the policy takes out.

        Args:
            texts: any number of texts.
            owner: whose texts they are. Others do not profit from their having been scanned, for
                an answer that takes no time would tell that somebody has sent the same.

        Raises:
            ApiError: a text could not be scored, they are too long, or too many wait.
        """
        if self._waiting >= _MOST_WAITING:
            raise overloaded(429, "Too many requests wait to be scanned.", "too_many_requests")
        self._waiting += 1
        try:
            return await self._found(list(dict.fromkeys(texts)), owner)
        finally:
            self._waiting -= 1

    async def _found(self, wanted: list[str], owner: bytes) -> dict[str, list[Span]]:
        found = await self.run(self._lookup, wanted, owner)
        new = [text for text in wanted if text not in found]
        if sum(map(len, new)) > self._most:
            raise ApiError(
                413,
                f"The request has more than {self._most:,} characters to scan: send less at once.",
                code="too_long",
            )
        for batch in _batches(new):
            found |= await self.run(self._scan, batch, owner)
        return found

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something on the thread that scans, after what was asked of it before."""

        def call() -> T:
            return work(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def close(self) -> None:
        """Let the thread end, and forget what was found."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._kept.clear()

    def _lookup(self, texts: list[str], owner: bytes) -> dict[str, list[Span]]:
        found = {}
        for text in texts:
            key = self._name(text, owner)
            if key in self._kept:
                self._kept.move_to_end(key)
                found[text] = self._kept[key]
        return found

    def _scan(self, texts: list[str], owner: bytes) -> dict[str, list[Span]]:
        redacted = self.guard.policy.redacted
        try:
            scanned = self.guard.scan(texts)
        except UnscoredError:
            # From None: the error of a library may quote the text.
            raise ApiError(
                422,
                "A text of the request could not be scanned, so it was not sent on.",
                code="unscored",
            ) from None
        found = {
            text: [span for span in spans if span.label in redacted]
            for text, spans in zip(texts, scanned, strict=True)
        }
        for text, spans in found.items():
            self._kept[self._name(text, owner)] = spans
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    def _name(self, text: str, owner: bytes) -> bytes:
        message = owner + b"\0" + text.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, sha256).digest()

    def __repr__(self) -> str:
        return f"Scanner({len(self._kept)} texts)"


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text)
    if batch:
        yield batch
