"""The provider's side: errors, redirects, silence, headers, keys."""

import json
import socket
from typing import Any

import httpx
import openai
import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response

from endoscope.errors import InputError
from endoscope.server.auth import Keys
from endoscope.server.edge import LOCAL, hosts_of
from endoscope.server.proxy import Proxy
from endoscope.server.proxy.upstream import Upstream, read_key
from tests.server.proxy.provider import Pair, Serving, chat, guard, served

BODY = {"model": "m", "messages": [{"role": "user", "content": "I am Mary Jones."}]}


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_errors_pass_with_their_status_and_values_put_back(pair: Pair, status: int) -> None:
    error = {"message": "Bad: [NAME_1]", "type": "t", "param": None, "code": "c"}
    pair.provider.answer = lambda body: JSONResponse(
        {"error": error}, status, {"retry-after": "7", "x-who": "Mary", "set-cookie": "a=b"}
    )
    with pytest.raises(openai.APIStatusError) as raised:
        pair.client.chat.completions.create(**BODY)  # type: ignore[call-overload]
    assert raised.value.status_code == status
    assert raised.value.body == {**error, "message": "Bad: Mary Jones"}
    assert raised.value.response.headers["retry-after"] == "7"
    assert not {"x-who", "set-cookie"} & set(raised.value.response.headers)


def test_errors_that_are_no_json_pass_too(pair: Pair) -> None:
    pair.provider.answer = lambda body: Response("<p>[NAME_1]", 502, media_type="text/html")
    answer = pair.post("/v1/chat/completions", BODY)
    assert (answer.status_code, answer.text) == (502, "<p>Mary Jones")
    assert answer.headers["content-type"].startswith("text/html")
    pair.provider.answer = lambda body: Response(b"", 503)
    assert pair.post("/v1/embeddings", {"model": "m", "input": "x"}).status_code == 503


def test_a_redirect_is_not_followed_and_not_passed_on(pair: Pair) -> None:
    """OpenAI's client would follow it, with the text as its user wrote it."""
    pair.provider.answer = lambda body: RedirectResponse("http://127.0.0.1:1/v1", 307)
    answer = pair.post("/v1/chat/completions", BODY, follow_redirects=True)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_redirect"
    assert "location" not in answer.headers
    assert len(pair.provider.bodies) == 1


def test_headers_that_say_who_one_is_stay_here(pair: Pair) -> None:
    headers = {
        "authorization": "Bearer sk-1",
        "openai-organization": "org",
        "x-user": "Mary",
        "cookie": "user=Mary",
        "user-agent": "Mary",
        "referer": "http://Mary",
        "x-endoscope-session": "s",
        "x-forwarded-for": "1.2.3.4",
        "accept-encoding": "gzip, br",
    }
    assert pair.post("/v1/chat/completions", BODY, headers=headers).status_code == 200
    sent, raw = pair.provider.raw[0]
    assert sent["authorization"] == "Bearer sk-1"
    assert sent["openai-organization"] == "org"
    assert int(sent["content-length"]) == len(raw)
    assert set(sent) <= {
        "host",
        "accept",
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "openai-organization",
        "user-agent",
    }
    assert not [value for value in sent.values() if "Mary" in value]


def test_cookies_of_one_client_are_not_sent_for_another(pair: Pair) -> None:
    pair.provider.answer = lambda body: JSONResponse(chat("x"), headers={"set-cookie": "a=Mary"})
    for _ in range(2):
        answer = pair.post("/v1/chat/completions", BODY)
        assert "set-cookie" not in answer.headers
    assert "cookie" not in pair.provider.raw[1][0]


def test_lengths_and_encodings_are_those_of_what_is_sent(pair: Pair) -> None:
    import gzip

    packed = gzip.compress(json.dumps(chat("[NAME_1]")).encode())
    pair.provider.answer = lambda body: Response(
        packed, media_type="application/json", headers={"content-encoding": "gzip"}
    )
    answer = pair.post("/v1/chat/completions", BODY)
    assert answer.json()["choices"][0]["message"]["content"] == "Mary Jones"
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_a_key_of_the_proxys_goes_out_in_place_of_the_clients() -> None:
    with served(guard(), key="sk-provider") as pair:
        headers = {"authorization": "Bearer sk-client", "api-key": "x"}
        pair.post("/v1/chat/completions", BODY, headers=headers)
        sent = pair.provider.raw[0][0]
    assert sent["authorization"] == "Bearer sk-provider"
    assert "sk-client" not in str(sent)
    assert "api-key" not in sent


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1"])
def test_without_keys_a_local_address_answers_to_local_names_alone(address: str) -> None:
    assert hosts_of(address, Keys()) == LOCAL
    assert hosts_of(address, Keys(["k" * 16])) is hosts_of("0.0.0.0", Keys()) is None


def test_clients_may_need_a_key() -> None:
    with served(guard(), key="sk-provider", keys=Keys(["a-long-enough-key"])) as pair:
        assert pair.post("/v1/chat/completions", BODY).status_code == 401
        headers = {"authorization": "Bearer a-long-enough-key"}
        assert pair.post("/v1/chat/completions", BODY, headers=headers).status_code == 200
        assert len(pair.provider.bodies) == 1


def test_a_page_that_points_its_own_name_here_gets_no_key_of_the_provider() -> None:
    proxy = Proxy(guard(), Upstream("http://127.0.0.1:1", key="sk-p"), hosts=LOCAL)
    with Serving(proxy.edge) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers={"Host": "a.example"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_host")
        assert httpx.post(f"{url}/v1/chat/completions", json=BODY).status_code == 502


def test_silence_has_an_end() -> None:
    class Silent(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await receive()

    with served(guard(), timeout=0.2) as pair:
        pair.provider.answer = lambda body: Silent()
        answer = pair.post("/v1/chat/completions", BODY)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "upstream_timeout"


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Serving(Proxy(guard(), Upstream(url)).edge) as proxied:
        answer = httpx.post(proxied + "/v1/chat/completions", json=BODY)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unreachable"


def test_a_body_that_breaks_off(pair: Pair) -> None:
    class Short(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-length", b"100"), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send(
                {"type": "http.response.body", "body": b'{"x": "[NAME_1]', "more_body": True}
            )
            raise ConnectionResetError

    pair.provider.answer = lambda body: Short()
    answer = pair.post("/v1/chat/completions", BODY)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_broke_off"


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:8000/x/y", "http://[::1]:8000/x/y"),
    ],
)
def test_urls(url: str, base: str) -> None:
    assert Upstream(url).url == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://x/v1",
        "https://u:Mary@x/v1",
        "https://x/v1?a=Mary",
        "http://x:99999",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InputError) as raised:
        Upstream(url)
    assert "Mary" not in str(raised.value)


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", " sk-1\n")
    assert read_key("A_KEY") == "sk-1"
    assert read_key(None) is None
    monkeypatch.setenv("A_KEY", "a\nb")
    for name in ("A_KEY", "NO_SUCH_KEY"):
        with pytest.raises(InputError):
            read_key(name)
