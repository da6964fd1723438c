"""The proxy before Endoscope's own server, with an engine that says what it is told to say."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from endoscope.server.proxy import Proxy
from endoscope.server.proxy.upstream import Upstream
from tests.server.fake import FakeEngine
from tests.server.proxy.provider import SECRETS, Serving, guard
from tests.server.serving import fake_served, running

SAY = "say:Dear Mary Jones, write to mary@example.com or 020 7946 0958; 田中太郎 [NAME_1]"
ANSWER = SAY.removeprefix("say:")


class Ours:
    def __init__(self, client: OpenAI, engine: FakeEngine) -> None:
        self.client = client
        self.engine = engine

    def prompts(self) -> str:
        """All that the engine was given."""
        ids = [request.token_ids for request in self.engine.seen]
        return "\n".join(self.engine.tokenizer.hf.decode(each) for each in ids)


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    served = fake_served()
    assert isinstance(served.engine, FakeEngine)
    with running(served) as (url, _):
        proxy = Proxy(guard(), Upstream(f"{url}/v1"))
        with Serving(proxy.edge) as proxied:
            client = OpenAI(base_url=f"{proxied}/v1", api_key="sk-1", max_retries=0)
            yield Ours(client, served.engine)
            client.close()


@pytest.fixture(autouse=True)
def nothing_leaves(ours: Ours) -> Iterator[None]:
    yield
    assert not [secret for secret in SECRETS if secret in ours.prompts()]


CHAT: dict[str, Any] = {"model": "fake", "messages": [{"role": "user", "content": SAY}]}


def test_a_chat(ours: Ours) -> None:
    answer = ours.client.chat.completions.create(**CHAT)
    assert answer.choices[0].message.content == ANSWER
    assert "say:Dear [NAME_1], write to [EMAIL_1] or [PHONE_1]; [NAME_2] [NAME_3]" in ours.prompts()


def test_a_streamed_chat_token_by_token(ours: Ours) -> None:
    """Tokens are bytes: every placeholder comes in many chunks."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(ours.client.chat.completions.create(**CHAT, **options))
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == ANSWER
    assert len(chunks) > 30
    assert chunks[-1].usage is not None


def test_completions(ours: Ours) -> None:
    answer = ours.client.completions.create(model="fake", prompt=SAY, max_tokens=200)
    assert answer.choices[0].text == ANSWER
    parts = ours.client.completions.create(
        model="fake", prompt=SAY, max_tokens=200, stream=True, stop=["zzz"]
    )
    assert "".join(part.choices[0].text for part in parts) == ANSWER


def test_readings_come_through(ours: Ours) -> None:
    body = {"endoscope": {"probes": ["words"]}}
    answer = ours.client.chat.completions.create(**CHAT, extra_body=body)
    readings = answer.choices[0].message.model_extra["endoscope"]["readings"]["words"]  # type: ignore[index]
    assert len(readings) > len(ANSWER)
    steered = {"endoscope": {"interventions": [{"kind": "add", "direction": "sea", "strength": 2}]}}
    loud = ours.client.chat.completions.create(**CHAT, extra_body=steered)
    # The engine shouts, placeholders included; they are known in any case.
    assert loud.choices[0].message.content == (
        "DEAR Mary Jones, WRITE TO mary@example.com OR 020 7946 0958; 田中太郎 [NAME_1]"
    )


def test_models_and_what_the_server_refuses(ours: Ours) -> None:
    assert {"fake", "loud"} <= {model.id for model in ours.client.models.list()}
    with pytest.raises(BadRequestError) as raised:
        ours.client.chat.completions.create(**CHAT, temperature=7)
    assert raised.value.param == "temperature"
