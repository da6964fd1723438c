"""Asking a URL whether a value is what a probe takes it for."""

from typing import Any

import httpx


class Hooks:
    """Posts escalations to hooks and reads what they decide.

    A hook gets policy, label, score, request and where the value is, and none of the text. It
    answers `{"confirmed": false}` to let the value out; whatever else it does counts as a yes.
    """

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, url: str, record: dict[str, Any]) -> bool:
        """Return whether the hook confirms.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=None, follow_redirects=False)
        response = await self._client.post(url, json=record)
        return not (response.is_success and response.json().get("confirmed") is False)

    async def close(self) -> None:
        """Close connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
