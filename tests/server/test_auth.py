"""Keys: where they come from, what they open."""

from pathlib import Path

import httpx
import openai
import pytest

from endoscope.errors import InputError
from endoscope.server.auth import Keys
from endoscope.server.edge import LOCAL, Edge
from tests.server.conftest import Serving
from tests.server.serving import fake_served, running

KEY, OTHER = "first-" + "a" * 20, "second-" + "b" * 20


def test_without_a_key_nothing_but_health_and_the_description_opens() -> None:
    with running(fake_served(keys=Keys([KEY, OTHER]))) as (url, app):
        for path in ("/health", "/ready", "/docs", "/openapi.json", "/metrics"):
            assert httpx.get(url + path).status_code == 200
        wrong = [None, "Bearer", "Bearer x", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer 鍵"]
        for value in wrong:
            headers = {} if value is None else {"Authorization": value.encode()}
            for path in ("/v1/models", "/v1/nothing"):
                answer = httpx.get(url + path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["code"] == "invalid_api_key"
            body = httpx.post(f"{url}/v1/completions", content="{", headers=headers)
            assert body.status_code == 401, "asked before the body is looked at"
        for key in (KEY, OTHER):
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
            assert len(client.models.list().data) == 3
        with pytest.raises(openai.AuthenticationError):
            Serving(url, app).client().models.list()


def test_metrics_are_open_to_this_machine_alone() -> None:
    import asyncio

    async def status(host: str) -> int:
        sent: list[int] = []

        async def send(message: object) -> None:
            if isinstance(message, dict) and "status" in message:
                sent.append(message["status"])

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b""}

        async def inner(scope: object, receive: object, send: object) -> None:
            sent.append(200)

        scope = {"type": "http", "path": "/metrics", "method": "GET", "headers": []}
        await Edge(inner, keys=Keys([KEY]))(scope | {"client": (host, 1)}, receive, send)  # type: ignore[arg-type]
        return sent[0]

    assert asyncio.run(status("127.0.0.1")) == 200
    assert asyncio.run(status("10.0.0.7")) == 401


def test_keys_come_from_the_environment_and_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVE_KEYS", f"{KEY}, {OTHER}")
    both = Keys.read("SERVE_KEYS")
    file = tmp_path / "keys"
    file.write_text(f"# of the team\n{KEY}\n\n")
    one = Keys.read(file=file)
    assert both.accept(f"Bearer {OTHER}")
    assert one.accept(f"bearer {KEY}")
    assert not one.accept(f"Bearer {OTHER}")
    assert KEY not in repr(one) + repr(vars(one))


@pytest.mark.parametrize("content", ["", "short", f"{KEY}\nshort"])
def test_a_key_that_is_none(content: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(InputError, match="API key"):
        Keys.read(file=file)
    with pytest.raises(InputError, match=r"API key in \$A_VARIABLE_THAT_IS_NOT_SET"):
        Keys.read("A_VARIABLE_THAT_IS_NOT_SET")
    with pytest.raises(InputError, match="cannot be read"):
        Keys.read(file=tmp_path / "nothing")


def test_without_keys_all_may_ask() -> None:
    assert Keys().accept(None)
    assert not Keys()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]:80"])
def test_a_page_that_points_its_own_name_here_is_refused(host: str) -> None:
    with running(fake_served(), hosts=LOCAL) as (url, _):
        answer = httpx.get(f"{url}/v1/models", headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "wrong_host"
        for name in ("localhost:1", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
            assert httpx.get(f"{url}/v1/models", headers={"Host": name}).status_code == 200
