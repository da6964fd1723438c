"""One server with the fake engine for each module that asks for it."""

import ssl
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import httpx
import openai
import pytest

from endoscope.server.app import App
from tests.server.fake import FakeEngine
from tests.server.serving import fake_served, running


class Serving(NamedTuple):
    """A server that listens."""

    url: str
    app: App

    @property
    def engine(self) -> FakeEngine:
        engine = self.app.served.engine
        assert isinstance(engine, FakeEngine)
        return engine

    def client(self, **more: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **more)

    def later(self, **more: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, **more)

    def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=30, **more)


@pytest.fixture(scope="session", autouse=True)
def _certificates_once() -> Iterator[None]:
    """Every client reads all certificates anew, which takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with running(fake_served()) as (url, app):
        yield Serving(url, app)
