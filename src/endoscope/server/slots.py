"""How many generations run at once and how many may wait."""

import asyncio
from collections import deque

from endoscope.server.errors import overloaded


class Slots:
    """Places for generations, given to those who wait in the order in which they came.

    Args:
        most: generations at once. An answer of `n` choices is `n` generations.
        most_waiting: generations that may wait for a place; with so many a new request is refused.
    """

    def __init__(self, most: int, most_waiting: int) -> None:
        self.most = most
        self.most_waiting = most_waiting
        self.running = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not turn.done() for turn in self._queue)

    def admit(self) -> None:
        """Refuse a request while too many wait.

        Raises:
            ApiError: 429.
        """
        if self.running >= self.most and self.waiting >= self.most_waiting:
            raise overloaded(429, "Too many requests at once: try again.", "too_many_requests")

    async def take(self) -> None:
        """Wait for a place; it is to be given back."""
        if self.running < self.most and not self._queue:
            self.running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came as its taker went
                self.give()
            raise

    def give(self) -> None:
        """Hand the place to the next in line who is still there, if there is one."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
