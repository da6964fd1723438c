"""A guard with a model of its own beside the model that is served: English and Japanese."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from endoscope.engine.requests import Request
from endoscope.guard import Guard
from endoscope.server.loading import Options, load
from tests.server.conftest import Serving
from tests.server.serving import running

pytestmark = [pytest.mark.embedded, pytest.mark.usefixtures("one_thread")]

PROMPT = "Write to john.smith@example.com or call John Smith. Again: write to"


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    served = load(Options("smollm2-135m-instruct", dtype="float32", guards={"pii": "pii"}))
    with running(served) as (url, app):
        yield Serving(url, app)
    served.engine.close()  # type: ignore[attr-defined]


def test_what_streams_is_the_redaction_of_what_the_model_wrote(serving: Serving) -> None:
    async def ask(client: openai.AsyncOpenAI, guards: list[str]) -> tuple[str, Any]:
        stream = await client.completions.create(
            model="smollm2-135m-instruct",
            prompt=PROMPT,
            temperature=0,
            max_tokens=16,
            stream=True,
            extra_body={"endoscope": {"guards": guards}},
        )
        chunks = [chunk.choices[0] async for chunk in stream]
        return "".join(c.text for c in chunks), getattr(chunks[-1], "endoscope", None)

    async def all_at_once() -> list[tuple[str, Any]]:
        async with serving.later() as client:
            return await asyncio.gather(*(ask(client, g) for g in ([], ["pii"], ["pii"], ["pii"])))

    (plain, _), *guarded = asyncio.run(all_at_once())
    guard = serving.app.served.guards["pii"]
    watch: Any = guard.watch(Request("x", (1,)))
    same_probe = Guard(guard.policy, watch.reader._scorer)
    expected = same_probe.redact(plain).redacted
    assert "@" in plain
    assert "[EMAIL]" in expected
    for text, ours in guarded:
        assert text == expected
        (cost,) = ours["costs"]
        assert (cost["policy"], cost["model"]) == ("pii", "gemma-3-270m")
        assert cost["tokens"] > 5
        assert cost["seconds"] > 0


def test_text_at_hand_in_japanese(serving: Serving) -> None:
    answer = serving.post("/v1/guard", {"text": "田中さんの電話は090-1234-5678です。"})
    assert answer.json()["redacted"] == "[NAME]さんの電話は[PHONE]です。"
