"""The official client, unchanged, against a server whose engine's answers are known."""

import asyncio
from typing import Any

import openai
import pytest

from tests.server.conftest import Serving
from tests.server.fake import LOGPROB, fake_score
from tests.server.serving import eventually


def says(text: str) -> list[Any]:
    return [{"role": "user", "content": f"say:{text}"}]


def test_models_are_the_model_and_its_variants(serving: Serving) -> None:
    models = serving.client().models
    assert [m.id for m in models.list()] == ["fake", "loud", "polite"]
    assert models.retrieve("loud").model_dump()["parent"] == "fake"
    assert "parent" not in models.retrieve("fake").model_dump(exclude_none=True)
    with pytest.raises(openai.NotFoundError) as caught:
        models.retrieve("nobody")
    assert caught.value.code == "model_not_found"


def test_a_chat(serving: Serving) -> None:
    answer = serving.client().chat.completions.create(model="fake", messages=says("Grüße!"))
    (choice,) = answer.choices
    assert (choice.message.content, choice.message.role) == ("Grüße!", "assistant")
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None
    assert answer.model == "fake"
    assert answer.system_fingerprint == "fp_fake"
    assert answer.usage is not None
    prompt = "<user>say:Grüße!<answer>"
    assert answer.usage.prompt_tokens == len(prompt.encode()) + 1  # BOS
    assert answer.usage.completion_tokens == len("Grüße!".encode()) + 1  # the end of text
    assert "endoscope" not in choice.message.model_dump(), "plain clients see plain answers"


def test_a_streamed_chat_is_the_whole_one_in_pieces(serving: Serving) -> None:
    chunks = list(
        serving.client().chat.completions.create(
            model="fake",
            messages=says("Grüße, 田中さん!"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *middle, last = chunks
    assert middle[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in middle) == "Grüße, 田中さん!"
    assert [c.choices[0].finish_reason for c in middle if c.choices[0].finish_reason] == ["stop"]
    assert middle[-1].choices[0].finish_reason == "stop"
    assert all(c.usage is None for c in middle)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == len("Grüße, 田中さん!".encode()) + 1
    assert len({c.id for c in chunks}) == 1
    assert all("endoscope" not in c.choices[0].delta.model_dump() for c in middle)


def test_choices_have_seeds_of_their_own_and_streams_of_them_do_not_mix(serving: Serving) -> None:
    client = serving.client()
    whole = client.chat.completions.create(model="fake", messages=says("x"), n=3, seed=7)
    assert [c.message.content for c in whole.choices] == ["x7", "x8", "x9"]
    texts = ["", "", ""]
    for chunk in client.chat.completions.create(
        model="fake", messages=says("x"), n=3, seed=7, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["x7", "x8", "x9"]


def test_what_is_asked_of_sampling_reaches_the_engine(serving: Serving) -> None:
    serving.client().chat.completions.create(
        model="fake",
        messages=says("abc STOP def"),
        temperature=0.5,
        top_p=0.25,
        seed=-3,
        stop=["STOP", "X"],
        max_completion_tokens=50,
        user="somebody",
    )
    sampling = serving.engine.seen[-1].sampling
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.25)
    assert (sampling.seed, sampling.max_tokens) == (2**63 - 3, 50)
    assert (sampling.stop, sampling.logprobs) == (("STOP", "X"), None)


def test_stop_and_length(serving: Serving) -> None:
    create = serving.client().chat.completions.create
    stopped = create(model="fake", messages=says("abc STOP def"), stop="STOP").choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("abc ", "stop")
    cut = create(model="fake", messages=says("abcdef"), max_tokens=3).choices[0]
    assert (cut.message.content, cut.finish_reason) == ("abc", "length")


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_chats(serving: Serving, stream: bool) -> None:
    made: Any = serving.client().chat.completions.create(
        model="fake", messages=says("aé"), logprobs=True, top_logprobs=2, stream=stream
    )
    parts = list(made) if stream else [made]
    found = [t for p in parts if p.choices[0].logprobs for t in p.choices[0].logprobs.content]
    assert [t.token for t in found] == ["a", "\ufffd", "\ufffd"], "but for the end of text"
    assert [t.bytes for t in found] == [[97], None, None]
    assert {t.logprob for t in found} == {LOGPROB}
    assert [(t.token, t.logprob) for t in found[0].top_logprobs] == [("a", -1.0), ("b", -2.0)]


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_completions(serving: Serving, stream: bool) -> None:
    made: Any = serving.client().completions.create(
        model="fake", prompt="say:abc", logprobs=1, stream=stream
    )
    found = [p.choices[0].logprobs for p in (made if stream else [made]) if p.choices[0].logprobs]
    assert [t for part in found for t in part.tokens] == ["a", "b", "c"]
    assert [at for part in found for at in part.text_offset] == [0, 1, 2]
    assert [p for part in found for p in part.token_logprobs] == [LOGPROB] * 3
    assert [t for part in found for t in part.top_logprobs] == [{"a": -1.0}] * 3


def test_completions_from_texts_and_from_token_ids(serving: Serving) -> None:
    client, encode = serving.client(), serving.app.served.tokenizer.encode
    several = client.completions.create(model="fake", prompt=["say:one", "say:two"], n=2)
    assert [c.text for c in several.choices] == ["one", "one", "two", "two"]
    assert [c.index for c in several.choices] == [0, 1, 2, 3]
    assert several.usage is not None
    assert several.usage.prompt_tokens == 16
    ids = encode("say:ids", special=False).ids
    assert client.completions.create(model="fake", prompt=ids).choices[0].text == "ids"
    assert serving.engine.seen[-1].token_ids == tuple(ids), "taken as they are"
    both = client.completions.create(model="fake", prompt=[ids, encode("say:x").ids])
    assert [c.text for c in both.choices] == ["ids", "x"]
    assert client.completions.create(model="fake", prompt="").choices[0].text == "Hello there."


def test_a_completion_has_sixteen_tokens_if_nothing_is_said(serving: Serving) -> None:
    long = serving.client().completions.create(model="fake", prompt="say:" + "x" * 50)
    assert long.choices[0].text == "x" * 16
    assert long.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_ours_goes_in_and_comes_back(serving: Serving, stream: bool) -> None:
    made: Any = serving.client().chat.completions.create(
        model="fake",
        messages=says("ab"),
        stream=stream,
        extra_body={
            "endoscope": {
                "probes": ["words"],
                "interventions": [{"kind": "add", "direction": "sea", "strength": 2}],
            }
        },
    )
    parts = [
        p.choices[0].delta if stream else p.choices[0].message for p in (made if stream else [made])
    ]
    assert "".join(p.content or "" for p in parts) == "AB", "steered"
    ours = [p.endoscope for p in parts if getattr(p, "endoscope", None)]
    readings = [tuple(r) for one in ours for r in one.get("readings", {}).get("words", ())]
    length = len("<user>say:ab<answer>") + 1 + 3
    assert readings == [(p, pytest.approx(fake_score(p))) for p in range(length)]


def test_a_variant_brings_its_own(serving: Serving) -> None:
    client = serving.client()
    assert client.completions.create(model="loud", prompt="say:hi").choices[0].text == "HI"
    steered = serving.engine.seen[-1].interventions
    assert [(i.kind, str(i.site)) for i in steered] == [("add", "resid_post.1")]
    by_name = client.completions.create(
        model="fake", prompt="say:hi", extra_body={"endoscope": {"variant": "loud"}}
    )
    assert (by_name.choices[0].text, by_name.model) == ("HI", "loud")
    more = {"kind": "ablate", "direction": "plane", "positions": "generated"}
    client.completions.create(
        model="loud", prompt="say:hi", extra_body={"endoscope": {"interventions": [more]}}
    )
    assert [i.kind for i in serving.engine.seen[-1].interventions] == ["add", "ablate"]


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ([("user", "hi")], "<system>Be kind.<user>hi<answer>"),
        ([("system", "Rhyme."), ("user", "hi")], "<system>Be kind.\n\nRhyme.<user>hi<answer>"),
        ([("developer", "Rhyme."), ("user", "hi")], "<system>Be kind.\n\nRhyme.<user>hi<answer>"),
    ],
)
def test_the_system_prompt_of_a_variant_comes_first(
    serving: Serving, messages: list[tuple[str, str]], prompt: str
) -> None:
    turns: Any = [{"role": role, "content": text} for role, text in messages]
    answer = serving.client().chat.completions.create(model="polite", messages=turns)
    sent = serving.engine.seen[-1]
    assert serving.app.served.tokenizer.hf.decode(sent.token_ids) == "<bos>" + prompt
    assert set(sent.readouts) == {"words"}
    assert answer.choices[0].message.model_dump()["endoscope"]["readings"]["words"]


def test_parts_of_a_message_are_joined(serving: Serving) -> None:
    parts: Any = [{"type": "text", "text": "say:a"}, {"type": "text", "text": "b"}]
    messages: Any = [{"role": "user", "content": parts}]
    answer = serving.client().chat.completions.create(model="fake", messages=messages)
    assert answer.choices[0].message.content == "ab"


def test_what_an_engine_did_not_foresee_is_a_500_without_its_words(serving: Serving) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        serving.client().completions.create(model="fake", prompt="FAIL secret")
    assert "secret" not in str(caught.value)
    with pytest.raises(openai.APIError) as streamed:
        list(serving.client().completions.create(model="fake", prompt="FAIL secret", stream=True))
    assert "secret" not in str(streamed.value)


@pytest.mark.parametrize("n", [1, 3])
def test_what_fails_in_the_midst_of_a_stream_is_an_error_there(serving: Serving, n: int) -> None:
    stream = serving.client().completions.create(
        model="fake", prompt="BREAK say:secret", stream=True, n=n
    )
    heard = []
    with pytest.raises(openai.APIError) as caught:
        heard.extend(chunk.choices[0].text for chunk in stream)
    assert "secret" not in str(caught.value)
    asyncio.run(eventually(lambda: serving.app.worker.slots.running == 0))
    assert not serving.engine.active


def test_many_at_once_are_each_answered_as_alone(serving: Serving) -> None:
    async def ask(client: openai.AsyncOpenAI, number: int) -> str:
        stream = await client.chat.completions.create(
            model="fake" if number % 2 else "loud", messages=says(f"answer {number}"), stream=True
        )
        return "".join([c.choices[0].delta.content or "" async for c in stream])

    async def all_of_them() -> list[str]:
        async with serving.later() as client:
            return await asyncio.gather(*(ask(client, i) for i in range(8)))

    expected = [f"answer {i}" if i % 2 else f"ANSWER {i}" for i in range(8)]
    assert asyncio.run(all_of_them()) == expected
    assert serving.engine.most_active <= 4, "no more than the server's places"
