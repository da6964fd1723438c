"""Answers that stream: the same as whole ones, however the provider cuts them."""

import json
import threading
import time
from typing import Any

import httpx
import openai
import pytest

from tests.server.proxy.provider import Pair, chunk

SAY = 'I am Mary Jones. My password: "a\\b\tc", 田中太郎.'
TOLD = "Dear [NAME_1], [name_2] says [NAME_9], [NAME_1]/[NAME\\_1]. [NAM"
HEARD = "Dear Mary Jones, 田中太郎 says [NAME_9], Mary Jones/Mary Jones. [NAM"


def events(*deltas: dict[str, Any]) -> str:
    return "".join([*map(chunk, deltas), chunk({}, "stop"), "data: [DONE]\n\n"])


def ask(pair: Pair, **options: Any) -> Any:
    return pair.client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": SAY}], stream=True, **options
    )


def text_of(answer: Any) -> str:
    return "".join(choice.delta.content or "" for chunk in answer for choice in chunk.choices)


def hear(pair: Pair) -> tuple[str, str]:
    """What a client has heard when the answer ends in an error, and the error."""
    heard = ""
    try:
        for part in ask(pair):
            heard += part.choices[0].delta.content or ""
    except openai.APIError as error:
        return heard, error.message
    raise AssertionError("the client was told of no error")


def test_a_stream_cut_at_every_byte(pair: Pair) -> None:
    raw = events({"role": "assistant", "content": ""}, *({"content": c} for c in TOLD)).encode()
    every_byte = [raw[i : i + 1] for i in range(len(raw))]
    pair.provider.answer = lambda body: pair.provider.stream(every_byte)
    assert text_of(ask(pair)) == HEARD
    assert "Mary" not in pair.provider.everything()


def test_a_text_cut_in_two_at_every_place(pair: Pair) -> None:
    for end in range(len(TOLD)):
        raw = events({"content": TOLD[:end]}, {"content": TOLD[end:]}).encode()
        pair.provider.answer = lambda body, raw=raw: pair.provider.stream([raw])
        assert text_of(ask(pair)) == HEARD


def test_each_choice_and_tool_call_by_itself(pair: Pair) -> None:
    """Two choices and two tool calls take turns, letter by letter; a value is escaped in JSON."""

    def call(number: int, letter: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": number, "function": {"arguments": letter}}]}

    first, second = '{"to": "[NAME_1]"}', '{"by": "[SECRET_1]"}'
    deltas = [
        (0, {"tool_calls": [{"index": i, "id": f"c{i}", "type": "function",
                             "function": {"name": "f", "arguments": ""}} for i in (0, 1)]}),
        *(pair_ for one, two in zip(first.ljust(len(second)), second, strict=True)
          for pair_ in ((0, call(0, one)), (0, call(1, two)))),
        *((1, {"content": letter, "reasoning_content": letter}) for letter in "so [NAME_1]["),
    ]  # fmt: skip
    told = [chunk(delta, index=index) for index, delta in deltas]
    told += [chunk({}, "tool_calls", 0), chunk({}, "stop", 1), "data: [DONE]\n\n"]
    pair.provider.answer = lambda body: pair.provider.stream(["".join(told).encode()])
    with pytest.MonkeyPatch.context() as patch:
        from tests.server.proxy.provider import guard

        patch.setattr(pair.proxy.scanner, "guard", guard(SECRET=r"a\\b\tc"))
        body = {"model": "m", "n": 2, "stream": True}
        say = [{"role": "user", "content": 'The password of Mary Jones is "a\\b\tc".'}]
        answer = list(pair.client.chat.completions.create(**body, messages=say))  # type: ignore[call-overload]
    arguments, content, reasoning = ["", ""], "", ""
    for part in answer:
        for choice in part.choices:
            for tool in choice.delta.tool_calls or []:
                arguments[tool.index] += tool.function.arguments
            content += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", "")
    assert json.loads(arguments[0]) == {"to": "Mary Jones"}
    assert json.loads(arguments[1]) == {"by": "a\\b\tc"}
    assert content == reasoning == "so Mary Jones["
    finishes = [(c.index, c.finish_reason) for p in answer for c in p.choices if c.finish_reason]
    assert finishes == [(0, "tool_calls"), (1, "stop")]
    assert answer[-1].choices[0].finish_reason == "stop"  # nothing comes after it


def test_other_fields_and_lines_pass_in_order(pair: Pair) -> None:
    usage = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
             "choices": [], "usage": {"total_tokens": 3}}  # fmt: skip
    first = chunk({"role": "assistant", "content": "[NAME_1]"})
    odd = first.replace(
        '"logprobs": null', '"logprobs": {"content": [{"token": "[NAME_1]"}]}, "z": 1'
    )
    raw = (
        "\ufeff: hello\r\n\r\nevent: message\rid: 7\r" + odd.replace("\n", "\r")
        + 'data: {"choices":\ndata: []}\n\n'
        + "data: " + json.dumps(usage) + "\r\n\r\ndata:[DONE]\r\n\r\n"
    )  # fmt: skip
    pair.provider.answer = lambda body: pair.provider.stream([raw.encode()])
    body = {"model": "m", "messages": [{"role": "user", "content": SAY}], "stream": True}
    answer = pair.post("/v1/chat/completions", body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.split("\n\n")
    assert blocks[0] == ": hello"
    assert blocks[1].split("\n")[:2] == ["event: message", "id: 7"]
    got = json.loads(blocks[1].split("data: ")[1])
    assert got["choices"][0]["delta"]["content"] == "Mary Jones"
    assert got["choices"][0]["logprobs"] == {"content": [{"token": "[NAME_1]"}]}
    assert list(got["choices"][0]) == ["index", "delta", "logprobs", "z", "finish_reason"]
    assert json.loads(blocks[2].removeprefix("data: ")) == {"choices": []}
    assert json.loads(blocks[3].removeprefix("data: ")) == usage
    assert blocks[4:] == ["data: [DONE]", ""]


@pytest.mark.parametrize("cut", ["", 'data: {"choices": [{"index": 0, "delta": {"con'])
def test_what_was_held_back_comes_when_the_provider_dies(pair: Pair, cut: str) -> None:
    pieces = [chunk({"content": "so [NAME_1] and [NAME_"}).encode(), cut.encode()]
    pair.provider.answer = lambda body: pair.provider.stream(pieces, die=True)
    assert hear(pair) == ("so Mary Jones and [NAME_", "The provider broke off.")


def test_what_was_held_back_comes_when_the_provider_just_ends(pair: Pair) -> None:
    pair.provider.answer = lambda body: pair.provider.stream([chunk({"content": "a ["}).encode()])
    assert text_of(ask(pair)) == "a ["


def test_an_error_in_the_stream_has_values_put_back(pair: Pair) -> None:
    raw = chunk({"content": "a ["}) + 'data: {"error": {"message": "Too long: [NAME_1]"}}\n\n'
    pair.provider.answer = lambda body: pair.provider.stream([raw.encode()])
    assert hear(pair) == ("a [", "Too long: Mary Jones")


def test_choices_that_are_none_pass_with_values_put_back(pair: Pair) -> None:
    pair.provider.answer = lambda body: pair.provider.stream([b'data: {"choices": ["[NAME_1] ["]}'])
    body = {"model": "m", "messages": [{"role": "user", "content": SAY}], "stream": True}
    answer = pair.post("/v1/chat/completions", body)
    assert json.loads(answer.text.removeprefix("data: ")) == {"choices": ["Mary Jones ["]}


def test_completions_stream_too(pair: Pair) -> None:
    def piece(text: str, finish: str | None = None) -> str:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        head = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
        return "data: " + json.dumps({**head, "choices": [choice]}) + "\n\n"

    raw = "".join([*map(piece, "to [NAME_1][NAM"), piece("E_1", "length"), "data: [DONE]\n\n"])
    pair.provider.answer = lambda body: pair.provider.stream([raw.encode()])
    answer = pair.client.completions.create(model="m", prompt="I, Mary Jones", stream=True)
    assert "".join(part.choices[0].text for part in answer) == "to Mary Jones[NAME_1"


def test_json_asked_for_stays_json(pair: Pair) -> None:
    told = '{"name": "[NAME_1]", "said": "[SECRET_1]"}'
    raw = events(*({"content": letter} for letter in told))
    say = [{"role": "user", "content": 'Mary Jones said a"b\\c\nd'}]
    with pytest.MonkeyPatch.context() as patch:
        from tests.server.proxy.provider import guard

        patch.setattr(pair.proxy.scanner, "guard", guard(SECRET=r'a"b\\c'))
        for answer_, read in (
            (lambda body: pair.provider.stream([raw.encode()]), text_of),
            (lambda body: _chat(told), lambda answer: answer.choices[0].message.content),
        ):
            pair.provider.answer = answer_
            answer = pair.client.chat.completions.create(  # type: ignore[call-overload]
                model="m",
                messages=say,
                response_format={"type": "json_object"},
                stream=read is text_of,
            )
            assert json.loads(read(answer)) == {"name": "Mary Jones", "said": 'a"b\\c'}


def _chat(content: str) -> Any:
    from tests.server.proxy.provider import chat

    return chat(content)


def test_who_goes_away_ends_the_request_to_the_provider(pair: Pair) -> None:
    pieces = [chunk({"content": "a"}).encode()]
    pair.provider.answer = lambda body: pair.provider.stream(pieces, hang=True)
    answer = ask(pair)
    assert next(iter(answer)).choices[0].delta.content == "a"
    answer.close()
    assert pair.provider.closed.wait(5)


def test_who_goes_away_before_the_answer_too(pair: Pair) -> None:
    gone = threading.Event()

    def answer(body: Any) -> Any:
        from starlette.responses import Response

        class Slow(Response):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                assert (await receive())["type"] == "http.disconnect"
                gone.set()

        return Slow()

    pair.provider.answer = answer
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(pair.url + "/v1/chat/completions", json=body, timeout=0.5)
    assert gone.wait(5)
    for _ in range(100):
        if pair.proxy.edge.running == 0:
            return
        time.sleep(0.02)
    raise AssertionError("the request still runs")
