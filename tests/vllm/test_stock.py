"""vLLM's own server, with Endoscope installed: it takes `endoscope` objects, streams readings."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import endoscope
from endoscope import Probe
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.engine.requests import score
from endoscope.engine.vllm.orders import Order
from tests.vllm.conftest import CHAT, MODEL, PATIENCE, ask, body, stock_server, text

PUSH = {"kind": "add", "direction": "sea", "strength": 0.3}


@pytest.fixture(scope="module")
def url(model: Model, sea: Path, tone: Path) -> Iterator[str]:
    config = {"directions": {"sea": str(sea)}, "probes": {"tone": str(tone)}}
    with stock_server(model, config) as where:
        yield where


def test_a_request_is_changed_and_those_beside_it_are_not(
    url: str, model: Model, sea: Path
) -> None:
    plain = text(ask(url))
    changed = text(ask(url, endoscope={"interventions": [PUSH]}))
    assert text(ask(url)) == plain
    assert plain == model.generate([CHAT], max_tokens=20)[0]
    with model.intervene(endoscope.add(Direction.load(sea), 0.3)):
        assert changed == model.generate([CHAT], max_tokens=20)[0]
    assert changed != plain


def expected(model: Model, tone: Path, ids: list[int]) -> dict[int, float]:
    """What the probe says of each token of a text that is read at once."""
    readout = Probe.load(tone).readout
    first = model.tokenizer.unscored(ids)
    (site,) = readout.spec.sites
    from endoscope.engine.batching import Row

    ((_, values),) = model.engine.read([Row(ids, start=first)], [site], batch_tokens=4096)
    stream = readout.stream()
    scores = [*stream.push(values), *stream.finish()]
    return {one.position + first: score(one.probabilities) for one in scores}


@pytest.mark.parametrize("streamed", [False, True])
def test_readings_come_with_the_tokens(url: str, model: Model, tone: Path, streamed: bool) -> None:
    """Of all tokens but the last: vLLM ends a request without running that."""
    ours = {"probes": ["tone"]}
    if streamed:
        said, readings = "", []
        sent = body(endoscope=ours, stream=True)
        where = f"{url}/v1/chat/completions"
        with httpx.stream("POST", where, json=sent, timeout=PATIENCE) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        said += choice["delta"].get("content") or ""
                        came = choice["delta"].get("endoscope", {}).get("readings", {})
                        readings.append(came.get("tone", []))
        assert sum(bool(one) for one in readings) > 10  # as they come, and not at the end
        found = [pair for one in readings for pair in one]
    else:
        answer_ = ask(url, endoscope=ours)
        said = text(answer_)
        found = answer_["choices"][0]["message"]["endoscope"]["readings"]["tone"]
    prompt = model.tokenizer.encode(model.tokenizer.chat(CHAT, reply=True)).ids
    generated = model.tokenizer.encode_batch([said], special=False)[0].ids
    assert len(generated) == 20
    wanted = expected(model, tone, [*prompt, *generated[:-1]])
    assert [position for position, _ in found] == list(wanted)
    for position, value in found:
        assert abs(value - wanted[position]) < 1e-3


def test_a_request_twice_is_read_whole_twice(url: str) -> None:
    """The second would hit the cache of prefixes."""
    long = [{"role": "user", "content": "Tell me about the sea. " * 20}]
    ours = {"probes": ["tone"]}
    one, other = (
        ask(url, messages=long, endoscope=ours)["choices"][0]["message"]["endoscope"]
        for _ in range(2)
    )
    assert [at for at, _ in one["readings"]["tone"]] == [at for at, _ in other["readings"]["tone"]]


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        ({"probes": ["nobody"]}, "no probe"),
        (
            {"interventions": [{"kind": "add", "direction": "nobody", "strength": 1}]},
            "no direction",
        ),
        ({"interventions": [{**PUSH, "strength": 1e9}]}, "strength"),
        (
            {"interventions": [{"kind": "ablate", "site": "mlp_out.3", "basis": [[1.0] * 576]}]},
            "mlp_out.3 is not read",
        ),
        (
            {"interventions": [{"kind": "ablate", "site": "resid_post.3", "basis": [[1.0] * 5]}]},
            "this model has 576",
        ),
        ({"interventions": "code"}, "list"),
        ({"interventions": [{**PUSH, "site": "resid_post.99"}]}, "resid_post.99"),
        ({"interventions": [PUSH] * 33}, "32"),
        ({"prob": ["tone"]}, "did you mean `probes`?"),
        ({"guards": ["pii"]}, "endoscope serve --engine vllm"),
        ([], "object"),
    ],
)
def test_what_cannot_be_had_is_refused(url: str, ours: Any, says: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json=body(endoscope=ours), timeout=PATIENCE)
    assert 400 <= answer.status_code < 500
    assert says in answer.json()["error"]["message"]


def test_completions_too(url: str, model: Model) -> None:
    sent = {"model": MODEL, "prompt": "The sea is", "max_tokens": 8, "temperature": 0}
    sent["endoscope"] = {"probes": ["tone"]}
    answer = httpx.post(f"{url}/v1/completions", json=sent, timeout=PATIENCE).json()
    assert answer["choices"][0]["text"] == model.generate(["The sea is"], max_tokens=8)[0]
    assert answer["choices"][0]["endoscope"]["readings"]["tone"]


def test_an_order_that_a_client_writes_itself_is_checked(url: str) -> None:
    for order in ("{}", Order(sites=(endoscope.Site.parse("resid_post.999"),)).text, [1]):
        sent = body(vllm_xargs={"endoscope": order})
        answer = httpx.post(f"{url}/v1/chat/completions", json=sent, timeout=PATIENCE)
        assert answer.status_code == 400
    ask(url)  # it goes on


def test_what_is_asked_on_other_paths_is_refused(url: str) -> None:
    """There it would be ignored."""
    sent: dict[str, Any] = {"model": MODEL, "input": "Hello", "max_output_tokens": 3}
    assert httpx.post(f"{url}/v1/responses", json=sent, timeout=PATIENCE).status_code == 200
    for more in ({"endoscope": {}}, {"vllm_xargs": {"endoscope": Order().text}}):
        answer = httpx.post(f"{url}/v1/responses", json={**sent, **more}, timeout=PATIENCE)
        assert answer.status_code == 400
        assert "`endoscope` goes with /v1/chat/completions" in answer.text
    assert text(ask(url, endoscope=None)) == text(ask(url))


def test_what_goes_round_the_object_is_refused(url: str) -> None:
    ours = {"probes": ["tone"]}
    several = {"model": MODEL, "prompt": ["a", "b"], "endoscope": ours}
    assert httpx.post(f"{url}/v1/completions", json=several, timeout=PATIENCE).status_code == 400
    beams = body(use_beam_search=True, endoscope=ours)
    assert httpx.post(f"{url}/v1/chat/completions", json=beams, timeout=PATIENCE).status_code == 400


def test_a_long_body_is_refused_only_where_it_asks_for_something_of_ours(url: str) -> None:
    padding = "of the endoscope " * (5 << 16)
    assert text(ask(url)) == text(ask(url, padding=padding))
    long = body(padding=padding, endoscope={"probes": ["tone"]})
    assert httpx.post(f"{url}/v1/chat/completions", json=long, timeout=PATIENCE).status_code == 413
