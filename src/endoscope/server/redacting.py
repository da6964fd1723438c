"""`POST /v1/guard`: a guard over text that is at hand, beside the loop that streams."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from endoscope.guard import Guard, UnscoredError
from endoscope.server.answers import GuardedText, OfflineSpan
from endoscope.server.errors import ApiError, overloaded
from endoscope.server.served import named

if TYPE_CHECKING:
    from endoscope.server.guards import ServedGuard

MOST_CHARACTERS = 200_000
"""Of all texts of one request. They are read in one go, and others wait."""


class Redacting:
    """Runs the guards of a server in one thread of their own, a request after the other.

    Args:
        guards: by name.
        most_waiting: requests that may wait; further ones are refused.
    """

    def __init__(self, guards: Mapping[str, "ServedGuard"], most_waiting: int) -> None:
        self._guards = guards
        self._most = most_waiting
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def redact(
        self, texts: Sequence[str], policy: str | None, note: dict[str, Any]
    ) -> list[GuardedText]:
        """Return each text without what the policy takes out.

        Raises:
            ApiError: there is no such policy, a text cannot be scored, they are too long, or too
                many wait.
        """
        guard = self._guard(policy)
        if sum(map(len, texts)) > MOST_CHARACTERS:
            message = f"The texts have more than {MOST_CHARACTERS:,} characters: send less at once."
            raise ApiError(413, message, code="too_large")
        if self._waiting > self._most:
            raise overloaded(429, "Too many requests at once: try again.", "too_many_requests")
        self._waiting += 1
        try:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, "guard")
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, guard.redact, list(texts))
        except UnscoredError:
            message = (
                "A text could not be scored, so none is given back: is it in another language?"
            )
            raise ApiError(400, message, code="unscored") from None
        finally:
            self._waiting -= 1
        note["found"] = dict(Counter(span.label for one in found for span in one.spans)) or None
        return [
            GuardedText(
                redacted=one.redacted,
                spans=[OfflineSpan(**span) for span in one.record()["spans"]],
            )
            for one in found
        ]

    def close(self) -> None:
        """Let the thread end."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    def _guard(self, policy: str | None) -> Guard:
        if policy is None:
            if len(self._guards) != 1:
                known = ", ".join(sorted(self._guards)) or "none; start it with --guard"
                message = f"Name one of the policies of this server: {known}."
                raise ApiError(400, message, param="policy", code="missing")
            policy = next(iter(self._guards))
        guard = named(self._guards, policy, "guard", "policy").offline
        if guard is None:
            message = "This policy judges answers as a whole; it takes nothing out of texts."
            raise ApiError(400, message, param="policy", code="invalid_value")
        return guard
