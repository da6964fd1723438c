"""Sessions: whose map is whose, and when it is forgotten."""

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from secrets import token_bytes

import regex

from endoscope.server.errors import ApiError, overloaded
from endoscope.server.proxy.placeholders import Form
from endoscope.server.proxy.upstream import CREDENTIALS
from endoscope.server.proxy.vault import Vault

HEADER = "x-endoscope-session"
MOST_SESSIONS = 1_000
_ID = regex.compile(r"[A-Za-z0-9._\-]{1,128}")


class Sessions:
    """The maps that outlive a request.

    A session belongs to its client's credentials: the same id with others is another session, so
    there is nothing to guess. Only keyed hashes of either are kept.

    Args:
        form: how placeholders are written.
        ttl: seconds without a request after which a session is forgotten.
        most: how many there can be; one more is refused, for no other's map is thrown away for it.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        form: Form,
        ttl: float,
        most: int = MOST_SESSIONS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._form = form
        self._ttl = ttl
        self._most = most
        self._clock = clock
        self._key = token_bytes(32)
        self._vaults: OrderedDict[bytes, tuple[float, Vault]] = OrderedDict()

    def owner(self, headers: Mapping[str, str]) -> bytes:
        """Return who sent a request: a hash of its credentials, empty if it has none."""
        given = [headers.get(name, "") for name in CREDENTIALS]
        return self._hash("\n".join(given)) if any(given) else b""

    def vault(self, headers: Mapping[str, str]) -> Vault:
        """Return the map for a request: of its session, or if it names none a map of its own.

        Raises:
            ApiError: the session's id has no form, comes without credentials, or is one too many.
        """
        name = headers.get(HEADER)
        if name is None:
            return Vault(self._form)
        if not _ID.fullmatch(name):
            raise ApiError(
                400,
                f"The header {HEADER} must be letters, digits and . _ -, at most 128.",
                code="invalid_session",
            )
        owner = self.owner(headers)
        if not owner:
            raise ApiError(
                400,
                f"A session needs credentials: send an Authorization header with {HEADER}.",
                code="session_without_credentials",
            )
        self.expire()
        key = self._hash(owner.hex() + "\n" + name)
        known = self._vaults.pop(key, None)
        if known is None and len(self._vaults) >= self._most:
            raise overloaded(429, "There are too many sessions.", "too_many_sessions", 60)
        vault = known[1] if known else Vault(self._form)
        self._vaults[key] = (self._clock(), vault)
        return vault

    def expire(self) -> None:
        """Forget the sessions that have been idle for too long."""
        while self._vaults:
            key, (used, _) = next(iter(self._vaults.items()))
            if self._clock() - used < self._ttl:
                return
            del self._vaults[key]

    def clear(self) -> None:
        """Forget all of them."""
        self._vaults.clear()

    def _hash(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), sha256).digest()

    def __len__(self) -> int:
        return len(self._vaults)

    def __repr__(self) -> str:
        return f"Sessions({len(self)})"
