"""What was made of texts, kept while the texts are not too long together."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any, ParamSpec, TypeVar

MOST = 32 << 20
"""Characters of texts; what is parsed of them takes two or three times their room."""
_EACH = 4096  # what a text counts beside its characters, for objects have a size of their own

P = ParamSpec("P")
T = TypeVar("T")


def kept(make: Callable[P, T]) -> Callable[P, T]:
    """Have a function of texts remember what it gave for those that were used last."""
    known: OrderedDict[Any, T] = OrderedDict()
    lock = Lock()
    size = 0

    @wraps(make)
    def get(*texts: P.args, **none: P.kwargs) -> T:
        nonlocal size
        with lock:
            if texts in known:
                known.move_to_end(texts)
                return known[texts]
            made = known[texts] = make(*texts, **none)
            size += _size(texts)
            while size > MOST:
                size -= _size(known.popitem(last=False)[0])
            return made

    return get


def _size(texts: Any) -> int:
    return _EACH + sum(len(str(text)) for text in texts)
