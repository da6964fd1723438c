"""Bad input gets a clear 4xx that names the parameter and quotes nothing."""

import json
from typing import Any

import httpx
import pytest

from tests.server.conftest import Serving
from tests.server.serving import D_MODEL

SECRET = "mary.jones@example.com"
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
ADD = {"kind": "add", "site": "resid_post.1", "strength": 1.0, "vector": [1.0] * D_MODEL}


def refused(answer: httpx.Response, status: int, param: str | None = None) -> dict[str, Any]:
    """Check the shape of an error; return what it says."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param, error
    assert error["code"]
    assert "\n" not in error["message"]
    assert SECRET not in answer.text
    return dict(error)


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "fake", "messages": [{"role": "user", "content": SECRET}]} | more


def steered(*interventions: Any) -> dict[str, Any]:
    return chat(endoscope={"interventions": list(interventions)})


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": SECRET}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.type"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1}, "frequency_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"modalities": ["audio"]}, "modalities[0]"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"prediction": {"type": "content", "content": SECRET}}, "prediction"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"store": True}, "store"),
        ({"service_tier": "priority"}, "service_tier"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    serving: Serving, more: dict[str, Any], param: str
) -> None:
    error = refused(serving.post(CHAT, chat(**more)), 400, param)
    assert error["code"] == "unsupported_parameter"
    assert "not supported" in error["message"]


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [], "tool_choice": "none", "functions": None, "parallel_tool_calls": True},
        {"response_format": {"type": "text"}, "logit_bias": {}, "presence_penalty": 0},
        {"modalities": ["text"], "store": False, "service_tier": "auto", "metadata": {"a": "b"}},
        {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "frequency_penalty": 0.0},
        {"n": 1.0, "stop": None, "seed": None, "max_tokens": None, "stream_options": None},
    ],
)
def test_what_changes_nothing_is_accepted(serving: Serving, more: dict[str, Any]) -> None:
    assert serving.post(CHAT, chat(**more)).status_code == 200


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 100}, "n"),
        ({"n": 1.5}, "n"),
        ({"seed": 0.5}, "seed"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": 3}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 201}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 2}, "max_tokens"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"nothing": 1}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": SECRET}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": SECRET}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": SECRET + "\ud800"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [SECRET]}]}, "messages[0].content"),
        ({"messages": SECRET}, "messages"),
        ({"messages": [SECRET]}, "messages[0]"),
        ({SECRET: 1}, None),
        ({"endoscope": SECRET}, "endoscope"),
        ({"endoscope": {"code": SECRET}}, "endoscope"),
        ({"endoscope": {"interventions": SECRET}}, "endoscope.interventions"),
        ({"endoscope": {"interventions": [SECRET]}}, "endoscope.interventions[0]"),
        ({"endoscope": {"probes": [3]}}, "endoscope.probes[0]"),
    ],
)
def test_values_that_make_no_sense(serving: Serving, more: dict[str, Any], param: str) -> None:
    body = json.dumps(chat(**more))
    answer = httpx.post(
        serving.url + CHAT, content=body, headers={"Content-Type": "application/json"}
    )
    refused(answer, 400, param)


def test_images_are_refused(serving: Serving) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:{SECRET}"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
    error = refused(serving.post(CHAT, chat(messages=messages)), 400, "messages[0].content[1].type")
    assert "'text'" in error["message"]


def test_an_unknown_parameter_is_told_what_it_may_have_meant(serving: Serving) -> None:
    error = refused(serving.post(CHAT, chat(temprature=1)), 400)
    assert "did you mean `temperature`?" in error["message"]


@pytest.mark.parametrize("path", [CHAT, COMPLETION])
def test_an_unknown_model(serving: Serving, path: str) -> None:
    body = {"model": SECRET} | (chat() if path == CHAT else {"prompt": "x"}) | {"model": SECRET}
    assert refused(serving.post(path, body), 404, "model")["code"] == "model_not_found"


@pytest.mark.parametrize("kind", ["probe", "guard", "variant"])
def test_an_unknown_name(serving: Serving, kind: str) -> None:
    key = kind if kind == "variant" else f"{kind}s"
    named = SECRET if kind == "variant" else [SECRET]
    answer = serving.post(CHAT, chat(endoscope={key: named}))
    assert refused(answer, 404, f"endoscope.{key}")["code"] == f"no_such_{kind}"


def test_two_variants_at_once(serving: Serving) -> None:
    answer = serving.post(CHAT, chat(model="loud", endoscope={"variant": "polite"}))
    refused(answer, 400, "endoscope.variant")


@pytest.mark.parametrize(
    "change",
    [
        {"vector": [1.0] * (D_MODEL + 1)},
        {"vector": []},
        {"vector": [0.0] * D_MODEL},
        {"vector": "__import__('os').system('true')"},
        {"vector": [SECRET] * D_MODEL},
        {"vector": [True] * D_MODEL},
        {"vector": [1.0] * 100_000},
        {"strength": 1e9},
        {"strength": -1e9},
        {"strength": 10**60},
        {"strength": 1e9, "units": "absolute"},
        {"strength": SECRET},
        {"strength": None},
        {"site": SECRET},
        {"site": "resid_post"},
        {"site": "resid_post.-1"},
        {"site": "embed.1"},
        {"site": 3},
        {"kind": SECRET},
        {"kind": "exec"},
        {"kind": None},
        {"positions": [-1]},
        {"positions": SECRET},
        {"code": "print(1)"},
        {SECRET: 1},
        {"gate": SECRET},
        {"gate": {"probe": "words", "label": SECRET}},
        {"gate": {"probe": "words", "threshold": 2}},
        {"gate": {"probe": "words", SECRET: 2}},
        {"gate": {"readout": {"sites": [SECRET]}}},
        {"direction": "sea"},
    ],
    ids=lambda change: "-".join(change)[:20],
)
def test_interventions_that_make_no_sense(serving: Serving, change: dict[str, Any]) -> None:
    answer = serving.post(CHAT, steered(ADD, ADD | change))
    error = refused(answer, 400, "endoscope.interventions[1]")
    assert error["code"] == "invalid_intervention"


@pytest.mark.parametrize(
    ("record", "status", "param"),
    [
        ({"kind": "add", "direction": SECRET, "strength": 1}, 404, "direction"),
        ({"kind": "add", "direction": 3, "strength": 1}, 400, "direction"),
        ({**ADD, "gate": {"probe": SECRET}}, 404, "gate.probe"),
        ({**ADD, "gate": {"probe": [SECRET]}}, 400, "gate.probe"),
    ],
)
def test_names_in_interventions(
    serving: Serving, record: dict[str, Any], status: int, param: str
) -> None:
    refused(serving.post(CHAT, steered(record)), status, f"endoscope.interventions[0].{param}")


def test_a_direction_has_to_fit_its_kind(serving: Serving) -> None:
    subspace = steered({"kind": "add", "direction": "plane", "strength": 1})
    refused(serving.post(CHAT, subspace), 400, "endoscope.interventions[0]")
    turned = steered({"kind": "rotate", "direction": "sea", "degrees": 90})
    refused(serving.post(CHAT, turned), 400, "endoscope.interventions[0]")
    erased = steered({"kind": "erase", "direction": "sea"})
    refused(serving.post(CHAT, erased), 400, "endoscope.interventions[0]")
    unknown = steered({"kind": "clamp_feature", "direction": "sea", "value": 1})
    refused(serving.post(CHAT, unknown), 400, "endoscope.interventions[0]")


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "add", "direction": "sea", "strength": 1, "site": "resid_pre.2"},
        {"kind": "clamp", "direction": "sea", "value": 0},
        {"kind": "ablate", "direction": "plane"},
        {"kind": "scale", "direction": "sea", "factor": 0.5},
        {"kind": "rotate", "direction": "plane", "degrees": 90},
        {"kind": "erase", "direction": "gone"},
        {"kind": "add", "direction": "sea", "strength": 1, "gate": {"probe": "words"}},
    ],
    ids=lambda record: record["kind"],
)
def test_each_kind_takes_a_direction(serving: Serving, record: dict[str, Any]) -> None:
    assert serving.post(CHAT, steered(record)).status_code == 200
    (found,) = serving.engine.seen[-1].interventions
    assert found.kind == record["kind"]
    assert str(found.site) == record.get("site", "resid_post.1")
    basis = serving.app.served.directions[record["direction"]].basis.tolist()
    numbers = {"add": "vector", "clamp": "vector", "rotate": "plane", "erase": "right"}
    given = getattr(found, numbers.get(record["kind"], "basis"))
    rows = [given] if isinstance(given[0], float) else given
    assert [list(row) for row in rows] == basis


def test_too_many_interventions(serving: Serving) -> None:
    refused(serving.post(CHAT, steered(*[ADD] * 33)), 400, "endoscope.interventions")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_numbers_that_are_none_in_json(serving: Serving, constant: str) -> None:
    body = json.dumps(steered(ADD | {"strength": "@"})).replace('"@"', constant)
    headers = {"Content-Type": "application/json"}
    refused(httpx.post(serving.url + CHAT, content=body, headers=headers), 400)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (SECRET.encode(), "invalid_json"),
        (b'{"model": "fake", "model": \xff}', "invalid_json"),
        (b"[" * 100_000, "too_deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "too_deep"),
        (b'{"endoscope": {"interventions": [' + b"[" * 31 + b"]" * 31 + b"]}}", "too_deep"),
    ],
)
def test_bodies_that_are_no_json(serving: Serving, body: bytes, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(serving.url + CHAT, content=body, headers=headers)
    assert refused(answer, 400)["code"] == code


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"x"'])
def test_json_that_is_no_object(serving: Serving, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(httpx.post(serving.url + CHAT, content=body, headers=headers), 400)


@pytest.mark.parametrize("media", ["text/plain", "", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_called_json(serving: Serving, media: str) -> None:
    headers = {"Content-Type": media}
    answer = httpx.post(serving.url + CHAT, content=json.dumps(chat()), headers=headers)
    refused(answer, 415)


def test_paths_and_methods_that_there_are_not(serving: Serving) -> None:
    refused(httpx.get(f"{serving.url}/v1/{SECRET}"), 404)
    answer = httpx.get(serving.url + CHAT)
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_long(serving: Serving, announced: bool) -> None:
    body = json.dumps(chat(user="x" * 5_000_000)).encode()
    content: Any = body if announced else iter([body[:1_000_000], body[1_000_000:]])
    headers = {"Content-Type": "application/json"}
    refused(httpx.post(serving.url + CHAT, content=content, headers=headers), 413)


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"prompt": "x" * 500}, None, "context_length_exceeded"),
        ({"prompt": [1, 260]}, "prompt", "invalid_value"),
        ({"prompt": [-1]}, "prompt[0]", "invalid_value"),
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": ["x"] * 9}, "prompt", "invalid_value"),
        ({"prompt": 3}, "prompt", "invalid_value"),
        ({"prompt": [SECRET, 3]}, "prompt[1]", "invalid_value"),
        ({"prompt": [3, SECRET]}, "prompt[1]", "invalid_value"),
        ({"prompt": [[3], SECRET]}, "prompt[1]", "invalid_value"),
        ({"prompt": {"a": SECRET}}, "prompt", "invalid_value"),
        ({"prompt": "x", "best_of": 3}, "best_of", "unsupported_parameter"),
        ({"prompt": "x", "echo": True}, "echo", "unsupported_parameter"),
        ({"prompt": "x", "suffix": SECRET}, "suffix", "unsupported_parameter"),
        ({"prompt": "x", "model": "polite"}, "model", "chat_only"),
    ],
)
def test_completions(serving: Serving, body: Any, param: str | None, code: str) -> None:
    answer = serving.post(COMPLETION, {"model": "fake"} | body)
    assert refused(answer, 400, param)["code"] == code


def test_no_room_for_the_answer(serving: Serving) -> None:
    ids = [65] * 490
    answer = serving.post(COMPLETION, {"model": "fake", "prompt": ids, "max_tokens": 200})
    assert answer.status_code == 200, "490 and 200 are within 1,000"
    many = {"model": "fake", "prompt": [65] * 501}
    assert refused(serving.post(COMPLETION, many), 400)["code"] == "context_length_exceeded"


def test_what_fails_by_our_own_fault_is_an_openai_error_too(serving: Serving) -> None:
    answer = serving.post(COMPLETION, {"model": "fake", "prompt": f"FAIL {SECRET}"})
    assert refused(answer, 500)["type"] == "server_error"
