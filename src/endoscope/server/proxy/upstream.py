"""The provider: the one address that is ever asked."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from endoscope.errors import InputError
from endoscope.server.errors import ApiError

CREDENTIALS = ("authorization", "api-key", "x-api-key")
_CONNECT = 10.0  # seconds
# All that goes to the provider besides the body, and all that comes back: anything else may say
# who the client is, or send it elsewhere.
_TO = (*CREDENTIALS, "openai-organization", "openai-project")
_BACK = ("content-type", "retry-after", "retry-after-ms", "x-should-retry")
_BACK_BEGIN = ("openai-", "x-ratelimit-")


class Upstream:
    """Asks the provider. Redirects are not followed, and proxies of the environment not used.

    Args:
        url: as a client's `base_url`, such as `https://api.openai.com/v1`.
        timeout: seconds without a byte of the answer after which it is given up.
        key: the provider's key, if clients do not bring it themselves.
        transport: what carries the requests; tests give their own.

    Raises:
        InputError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 600.0,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = _checked(url)
        self._key = key
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout, connect=min(_CONNECT, timeout), pool=timeout),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=32),
            follow_redirects=False,
            trust_env=False,
            verify=httpx.create_ssl_context(),  # which knows SSL_CERT_FILE
            transport=transport,
        )

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> httpx.Response:
        """Send a request and return the answer when its head has come. It must be closed.

        Raises:
            ApiError: 502, 504: the provider cannot be reached, says nothing, or points elsewhere.
        """
        # Without compression, so that a stream comes as it is written.
        sent = {"user-agent": "endoscope-proxy", "accept-encoding": "identity"}
        sent |= {name: headers[name] for name in _TO if name in headers}
        if self._key is not None:
            sent = {name: value for name, value in sent.items() if name not in CREDENTIALS}
            sent["authorization"] = f"Bearer {self._key}"
        if body is not None:
            sent["content-type"] = "application/json"
        self._client.cookies.clear()  # of one client's answer, for all others
        request = self._client.build_request(method, self.url + path, headers=sent, content=body)
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise failure(error) from None
        if 300 <= answer.status_code < 400:
            await answer.aclose()
            # A client that follows it would take what it sent, as it is, to somewhere else.
            message = "The provider answers with a redirect: give --upstream its final address."
            raise ApiError(502, message, code="upstream_redirect")
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def __repr__(self) -> str:
        return f"Upstream({self.url})"


def headers_back(answer: httpx.Response) -> dict[str, str]:
    """Return the headers of an answer that clients get."""
    return {
        name: value
        for name, value in answer.headers.items()
        if name in _BACK or name.startswith(_BACK_BEGIN)
    }


def failure(error: httpx.HTTPError) -> ApiError:
    """Return what to say of an answer that did not come, or not to its end."""
    if isinstance(error, httpx.TimeoutException):
        return ApiError(504, "The provider took too long.", code="upstream_timeout")
    if isinstance(error, httpx.ConnectError):
        return ApiError(502, "The provider cannot be reached.", code="upstream_unreachable")
    return ApiError(502, "The provider broke off.", code="upstream_broke_off")


def read_key(env: str | None) -> str | None:
    """Return the provider's key from an environment variable.

    Raises:
        InputError: there is nothing in it that can be a key.
    """
    if env is None:
        return None
    key = os.environ.get(env, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise InputError(f"The environment variable {env} has no key.", "Put the provider's there.")
    return key


def _checked(url: str) -> str:
    """Return a base URL without a slash at its end."""
    hint = "Give it as a client's base_url, such as https://api.openai.com/v1."
    problem: str | None = None
    try:
        parts: Any = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise InputError("--upstream is no URL.", hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        problem = "is no http or https URL"
    elif parts.username is not None or parts.password is not None:
        problem = "has a user or password in it, which logs would show"
    elif parts.query or parts.fragment:
        problem = "has a query or a fragment"
    if problem:
        raise InputError(f"--upstream {problem}.", hint)
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
