"""The time that added operations take of their own, beside the model's."""

import time
from collections.abc import Callable
from typing import Any


class Clock:
    """Sums up the time that is spent in some methods. Make one before any of them is bound.

    Args:
        methods: a class or module and the name of one of its functions, each; none calls another.
    """

    def __init__(self, *methods: tuple[Any, str]) -> None:
        self.seconds = 0.0
        for owner, name in methods:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args)
            finally:
                self.seconds += time.perf_counter() - start

        return timed
