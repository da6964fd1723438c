"""Bearer keys."""

import hmac
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Self

from endoscope.errors import InputError
from endoscope.server.errors import ApiError

_SHORTEST = 16
_MAKE_ONE = "Make one with `openssl rand -hex 32`."


class Keys:
    """The keys that open a server; none of them: it is open to all.

    Args:
        keys: the keys. Only their digests are kept.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._digests = [sha256(key.encode()).digest() for key in keys]

    @classmethod
    def read(cls, env: str | None = None, file: Path | None = None) -> Self:
        """Read keys from where they are kept: they are never given on a command line.

        Args:
            env: the environment variable that holds one key, or several with commas.
            file: a file with a key a line; empty lines and lines with `#` do not count.

        Raises:
            InputError: there is no key, or one is too short to be one.
        """
        found: list[str] = []
        if env is not None:
            found += [part.strip() for part in os.environ.get(env, "").split(",")]
        if file is not None:
            try:
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"The key file {file} cannot be read.") from error
            found += [line.strip() for line in lines if not line.lstrip().startswith("#")]
        keys = [key for key in found if key]
        where = " or ".join(str(place) for place in (env and f"${env}", file) if place)
        if where and not keys:
            raise InputError(f"There is no API key in {where}.", _MAKE_ONE)
        if any(len(key) < _SHORTEST for key in keys):
            raise InputError(
                f"An API key in {where} is shorter than {_SHORTEST} characters.", _MAKE_ONE
            )
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accept(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header opens the server; takes as long whatever it holds."""
        if not self._digests:
            return True
        scheme, _, key = (authorization or "").partition(" ")
        digest = sha256(key.strip().encode("utf-8", "surrogatepass")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches) and scheme.lower() == "bearer"

    def check(self, authorization: str | None) -> None:
        """Refuse a header that does not open the server.

        Raises:
            ApiError: 401.
        """
        if not self.accept(authorization):
            raise ApiError(
                401,
                "The API key is missing or wrong: send it as `Authorization: Bearer KEY`.",
                code="invalid_api_key",
            )

    def __repr__(self) -> str:
        return f"Keys({len(self._digests)})"
