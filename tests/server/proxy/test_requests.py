"""What reaches the provider: nothing that was planted, and everything else."""

import json
from typing import Any

import openai
import pytest

from endoscope.server.proxy.parts import read
from tests.server.proxy.provider import SECRETS, Pair, chat

CHAT, PART = "/v1/chat/completions", "messages[0].content[0]"
SAY = "I am Mary Jones, call 020 7946 0958 or write to mary@example.com. 田中太郎さんも。"
SENT = "I am [NAME_1], call [PHONE_1] or write to [EMAIL_1]. [NAME_2]さんも。"


def user(*texts: Any) -> dict[str, Any]:
    """A chat in which a user has said these."""
    return {"model": "m", "messages": [{"role": "user", "content": text} for text in texts]}


def clean(pair: Pair) -> None:
    """Nothing that was planted has left, in no form and no field."""
    everything = pair.provider.everything()
    assert pair.provider.bodies
    assert not [secret for secret in SECRETS if secret in everything]


def test_a_chat_leaves_without_values_and_comes_back_with_them(pair: Pair) -> None:
    pair.provider.answer = lambda body: chat(body["messages"][0]["content"] + " [NAME_9] [x_1]")
    answer = pair.client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": SAY}]
    )
    assert pair.provider.bodies == [{"model": "m", "messages": [{"role": "user", "content": SENT}]}]
    assert answer.choices[0].message.content == SAY + " [NAME_9] [x_1]"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 2
    clean(pair)


def everything() -> dict[str, Any]:
    """A request with something planted wherever a text can be."""
    arguments = {"to": "Mary Jones", "phone": 442079460958, "John Smith": [{"x": "田中太郎"}]}
    return {
        "model": "m",
        "temperature": 0.5,
        "user": "mary@example.com",
        "safety_identifier": "Mary Jones",
        "metadata": {"customer": "Mary Jones", "John Smith": "yes"},
        "stop": ["John Smith:", "\n"],
        "logit_bias": {"50256": -100},
        "messages": [
            {"role": "system", "content": "You help Mary Jones."},
            {"role": "developer", "content": [{"type": "text", "text": "John Smith wrote this."}]},
            {"role": "user", "name": "Mary Jones", "content": SAY},
            {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "reasoning_content": "Mary Jones wants it.",
                "tool_calls": [
                    {
                        "id": "call_Mary Jones",
                        "type": "function",
                        "function": {"name": "send", "arguments": json.dumps(arguments)},
                    },
                    {
                        "id": "call_2",
                        "type": "custom",
                        "custom": {"name": "run", "input": "ssh Mary Jones"},
                    },
                ],
            },
            {
                "role": "tool",
                "tool_call_id": "call_Mary Jones",
                "content": json.dumps({"from": "田中太郎", "card": 4111111111111111}),
            },
            {"role": "tool", "tool_call_id": "call_2", "content": "Sent to John Smith."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "send",
                    "description": "Sends to Mary Jones.",
                    "strict": False,
                    "parameters": {
                        "type": "object",
                        "properties": {
                            "to": {"type": "string", "enum": ["Mary Jones", "other"]},
                            "John Smith": {"type": "array"},
                        },
                        "required": ["to"],
                    },
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "send"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": {"description": "of John Smith"}},
        },
        "prediction": {"type": "content", "content": "Dear Mary Jones,"},
        "endoscope": {"probes": ["Mary Jones"]},
    }


def test_nothing_leaves_from_any_field(pair: Pair) -> None:
    assert pair.post(CHAT, everything()).status_code == 200
    clean(pair)
    body = pair.provider.bodies[0]
    mary = body["messages"][0]["content"][len("You help ") : -1]
    john = body["messages"][1]["content"][0]["text"][: -len(" wrote this.")]
    assert {mary[:6], john[:6]} == {"[NAME_"}
    assert mary != john
    messages = body["messages"]
    assert messages[2]["name"] == mary
    first, second = messages[3]["tool_calls"]
    arguments = json.loads(first["function"]["arguments"])
    tanaka = json.loads(messages[4]["content"])["from"]
    assert list(arguments) == ["to", "phone", john]
    assert arguments["to"] == mary
    assert arguments["phone"].startswith("[PHONE_")
    assert arguments[john] == [{"x": tanaka}]
    assert json.loads(messages[4]["content"])["card"].startswith("[ID_")
    assert second["custom"] == {"name": "run", "input": f"ssh {mary}"}
    assert [messages[4]["tool_call_id"], messages[5]["tool_call_id"]] == [first["id"], second["id"]]
    parameters = body["tools"][0]["function"]["parameters"]
    assert parameters["properties"]["to"] == {"type": "string", "enum": [mary, "other"]}
    assert list(parameters["properties"]) == ["to", john]
    assert body["stop"] == [f"{john}:", "\n"]
    assert body["metadata"] == {"customer": mary, john: "yes"}
    assert body["logit_bias"] == {"50256": -100}
    assert body["user"].startswith("user-")
    assert body["response_format"]["json_schema"]["schema"] == {"description": f"of {john}"}


def test_what_holds_nothing_leaves_as_it_came(pair: Pair) -> None:
    arguments = '{"a" : 1, "b":"\\u00e9\\n", "c":[1.50, 1e3, true, null], "a": "again"}'
    body = {
        "model": "org/model:v1.2",
        "messages": [
            {"role": "user", "content": "Hello \\u3053 {not json"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "abc",
                        "type": "function",
                        "function": {"name": "f", "arguments": arguments},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "abc", "content": '"a string"'},
        ],
        "seed": 12345678901,
        "stream": False,
        "top_k": 5,
    }
    assert pair.post(CHAT, body).status_code == 200
    body["messages"][1]["tool_calls"][0]["id"] = "call00000"  # type: ignore[index]
    body["messages"][2]["tool_call_id"] = "call00000"  # type: ignore[index]
    assert pair.provider.bodies == [body]


def test_completions(pair: Pair) -> None:
    pair.provider.answer = lambda body: {
        "id": "c",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": i, "text": prompt, "logprobs": None, "finish_reason": "stop"}
            for i, prompt in enumerate(body["prompt"])
        ],
    }
    prompts = ["Dear Mary Jones,", "John Smith and Mary Jones"]
    answer = pair.client.completions.create(model="m", prompt=prompts, suffix="田中太郎")
    body = pair.provider.bodies[0]
    assert body["prompt"] == ["Dear [NAME_1],", "[NAME_2] and [NAME_1]"]
    assert body["suffix"] == "[NAME_3]"
    assert [choice.text for choice in answer.choices] == prompts
    clean(pair)


def test_embeddings(pair: Pair) -> None:
    pair.provider.answer = lambda body: {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -2e-05]}],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    for given, sent in (("Mary Jones", "[NAME_1]"), (["a", "Mary Jones"], ["a", "[NAME_1]"])):
        answer = pair.client.embeddings.create(model="m", input=given, encoding_format="float")
        assert pair.provider.bodies[-1]["input"] == sent
        assert answer.data[0].embedding == [0.1, -2e-05]
    clean(pair)


def test_models(pair: Pair) -> None:
    about = {"id": "m", "object": "model", "created": 1, "owned_by": "x"}
    pair.provider.answer = lambda body: {"object": "list", "data": [about]}
    assert [model.id for model in pair.client.models.list()] == ["m"]
    assert pair.provider.paths == ["/v1/models"]


def test_a_value_found_once_is_replaced_wherever_it_stands(pair: Pair) -> None:
    """The pattern needs `Mary Ann Jones` in this case; what was found is known in any."""
    texts = ["MARY  ANN\nJONES?", "Ｍａｒｙ Ann Jones, mary ann jonesson", "Mary Ann Jones"]
    answer = pair.post(CHAT, user(*texts))
    assert answer.status_code == 200
    sent = [message["content"] for message in pair.provider.bodies[0]["messages"]]
    assert sent == ["[NAME_1]?", "[NAME_1], mary ann jonesson", "[NAME_1]"]


def test_escapes_in_the_midst_of_prose_hide_nothing(pair: Pair) -> None:
    content = 'The tool said {"name": "\\u7530\\u4e2d\\u592a\\u90ce"} and "caf\\u00e9".'
    pair.post(
        "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": content}]}
    )
    assert pair.provider.bodies[0]["messages"][0]["content"] == (
        'The tool said {"name": "[NAME_1]"} and "café".'
    )
    clean(pair)


def test_millions_of_backslashes_are_looked_at_once() -> None:
    """Looked at again from each of them, they would take hours."""
    text = "\\" * 2_000_000 + "n \\\\u7530"
    (leaf,) = read(text, "x").leaves()
    assert leaf.text == "\\" * 2_000_000 + "n 田"


def test_json_in_json_in_json(pair: Pair) -> None:
    inner = json.dumps({"name": "田中太郎", "n": 442079460958})
    content = json.dumps({"body": json.dumps([inner, "x"])})
    pair.post(
        "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": content}]}
    )
    clean(pair)
    sent = pair.provider.bodies[0]["messages"][0]["content"]
    found = json.loads(json.loads(json.loads(sent)["body"])[0])
    assert found == {"name": "[NAME_1]", "n": "[PHONE_1]"}


def test_what_looks_like_a_placeholder_is_nobodys(pair: Pair) -> None:
    """Were it sent as it is, the answer would put Mary in its place."""
    say = "[NAME_1] and [name_1], [DATE\\_OF\\_BIRTH_3], ［EMAIL_1］: I am Mary Jones."
    pair.provider.answer = lambda body: chat(body["messages"][0]["content"])
    answer = pair.client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": say}]
    )
    assert pair.provider.bodies[0]["messages"][0]["content"] == (
        "[NAME_1] and [NAME_2], [DATE_OF_BIRTH_1], [EMAIL_1]: I am [NAME_3]."
    )
    assert answer.choices[0].message.content == say


def test_too_long_and_too_many(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair.proxy.scanner, "_most", 100)
    assert pair.post(CHAT, user("x" * 200)).status_code == 413
    assert pair.post(CHAT, user("x" * 20, "y" * 20)).status_code == 200
    monkeypatch.setattr(pair.proxy.scanner, "_waiting", 64)
    assert pair.post(CHAT, user("x")).status_code == 429
    assert len(pair.provider.bodies) == 1


def test_end_users_have_an_alias(pair: Pair) -> None:
    def sent(user: str) -> str:
        body = {"model": "m", "input": "x", "user": user}
        assert pair.post("/v1/embeddings", body).status_code == 200
        return str(pair.provider.bodies[-1]["user"])

    assert sent("u-1") == sent("u-1") != sent("u-2")


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        (CHAT, user([{"type": kind, kind: {"url": "Mary Jones"}}]), PART)
        for kind in ("image_url", "input_audio", "file", "video_url", "Mary Jones")
    ]
    + [
        (CHAT, user([{"type": "text", "text": "x", "file_id": "f"}]), PART),
        (CHAT, user(["Mary Jones"]), PART),
        (CHAT, {"model": "m", "modalities": ["audio"]}, "modalities[0]"),
        (CHAT, {"model": "m", "audio": {"voice": "x"}}, "audio"),
        (CHAT, {"model": "Mary Jones", "messages": []}, "model"),
        (CHAT, {"model": "m", "Mary Jones": "x"}, None),
        (CHAT, {"model": "m", "extra_field": 1}, None),
        (CHAT, {"model": "m", "temperature": "Mary Jones"}, "temperature"),
        (CHAT, {"model": "m", "reasoning_effort": "Mary"}, "reasoning_effort"),
        (
            CHAT,
            {"model": "m", "messages": [{"role": "Mary"}]},
            "messages[0].role",
        ),
        (CHAT, {"model": "m", "logit_bias": {"Mary": 1}}, "logit_bias"),
        (CHAT, {"model": "m", "stream": "yes"}, "stream"),
        (
            CHAT,
            {"model": "m", "tools": [{"type": "web_search"}]},
            "tools[0].type",
        ),
        ("/v1/completions", {"model": "m", "prompt": [1, 2]}, "prompt"),
        ("/v1/completions", {"model": "m", "prompt": [[1, 2]]}, "prompt"),
        ("/v1/embeddings", {"model": "m", "input": [1, 2]}, "input"),
        ("/v1/embeddings", ["Mary Jones"], None),
    ],
)
def test_what_cannot_be_scanned_is_refused(
    pair: Pair, path: str, body: Any, place: str | None
) -> None:
    answer = pair.post(path, body)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == place
    assert "Mary" not in answer.text
    assert pair.provider.bodies == []


def test_the_name_of_an_unknown_field_is_said_if_it_can_be_one(pair: Pair) -> None:
    body = {"model": "m", "guided_json": {}}
    assert "`guided_json`" in pair.post(CHAT, body).json()["error"]["message"]


def test_an_identifier_with_something_in_it_is_refused(pair: Pair) -> None:
    names = {"type": "function", "function": {"name": "ask_John_Smith"}}
    body = {"model": "m", "messages": [{"role": "user", "content": "John_Smith"}], "tools": [names]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair.proxy.scanner, "guard", _finds("John_Smith"))
        answer = pair.post(CHAT, body)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "tools[0].function.name"
    assert "John" not in answer.text
    assert pair.provider.bodies == []


def _finds(pattern: str) -> Any:
    from tests.server.proxy.provider import guard

    return guard(NAME=pattern)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/responses", 403),
        ("POST", "/v1/files", 403),
        ("POST", "/v1/images/generations", 403),
        ("POST", "/v1/audio/transcriptions", 403),
        ("GET", "/v1/models/m", 403),
        ("GET", "/Mary", 403),
        ("POST", "/v1/chat/completions/", 403),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/../v1/files", 403),
    ],
)
def test_other_endpoints_are_refused(pair: Pair, method: str, path: str, status: int) -> None:
    import httpx

    answer = httpx.request(method, pair.url + path, json={"x": "Mary Jones"})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert "Mary" not in answer.text
    assert pair.provider.paths == []
    if path == "/v1/responses":
        assert "/v1/responses" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"content": b"{"}, 415),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b'{"x": NaN}', "headers": {"content-type": "application/json"}}, 400),
        ({"content": b"[" * 10**5, "headers": {"content-type": "application/json"}}, 400),
        ({"files": {"file": b"Mary Jones"}}, 400),
        ({"json": {}, "headers": {"content-encoding": "gzip"}}, 415),
        ({"json": {}, "params": {"user": "Mary Jones"}}, 400),
        ({"content": b"1" * (5 * 2**20), "headers": {"content-type": "application/json"}}, 413),
    ],
)
def test_bodies_that_are_no_json_are_refused(pair: Pair, options: Any, status: int) -> None:
    answer = pair.post(CHAT, **options)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert pair.provider.bodies == []


def test_what_could_not_be_scored_does_not_leave(pair: Pair) -> None:
    class Failing:
        policy = pair.proxy.scanner.guard.policy

        def scan(self, texts: list[str]) -> None:
            from endoscope.guard import UnscoredError

            raise UnscoredError(f"it said {texts}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair.proxy.scanner, "guard", Failing())
        with pytest.raises(openai.UnprocessableEntityError) as raised:
            pair.client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "I am Mary Jones. Unseen."}]
            )
    assert raised.value.code == "unscored"
    assert "Mary" not in str(raised.value)
    assert pair.provider.bodies == []
