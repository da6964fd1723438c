"""A real model behind the server: what comes over HTTP is what the model does alone."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch

import endoscope
from endoscope.artifacts import Card
from endoscope.artifacts.card import DataRef
from endoscope.engine import Model
from endoscope.probes import Probe
from endoscope.readouts import Calibration, FeatureSpec, LogisticHead
from endoscope.server.loading import serve_model
from endoscope.server.served import Limits
from tests.server.conftest import Serving
from tests.server.serving import eventually, running

pytestmark = [pytest.mark.embedded, pytest.mark.usefixtures("one_thread")]

PROMPT = "The capital of France is"
CHAT: Any = [{"role": "user", "content": "Name three colours."}]
SITE = "resid_post.12"


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    opened = endoscope.open("smollm2-135m-instruct", dtype="float32")
    yield opened
    opened.engine.close()


def probe_on(model: Model) -> Probe:
    """A probe of random weights with a look-ahead: its scores are not near 0 or 1."""
    generator = torch.Generator().manual_seed(3)
    spec = FeatureSpec(("resid_post.9", "attn_out.20"), look_ahead=1)
    width = spec.width(model.d_model)
    head = LogisticHead(0.005 * torch.randn(3, width, generator=generator), torch.zeros(3), "OXY")
    card = Card(
        kind="probe",
        name="random",
        model=model.fingerprint,
        model_name=model.name,
        data=DataRef(name="none", sha256="0" * 64, rows=1),
        command="",
        sites=("resid_post.9",),
        seed=3,
    )
    return Probe(spec, head, Calibration(), None, {"X": 0.5, "Y": 0.5}, card)


@pytest.fixture(scope="module")
def serving(model: Model) -> Iterator[Serving]:
    served = serve_model(
        model,
        probes={"random": probe_on(model).readout},
        limits=Limits(requests=8, waiting=8, prompt_tokens=500, tokens=400, seconds=60),
    )
    with running(served) as (url, app):
        yield Serving(url, app)


def steering(model: Model, strength: float = 1.0) -> dict[str, Any]:
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(1)).tolist()
    return {"kind": "add", "site": SITE, "vector": vector, "strength": strength}


def test_a_chat_is_what_the_model_answers_alone(serving: Serving, model: Model) -> None:
    answer = serving.client().chat.completions.create(
        model="smollm2-135m-instruct", messages=CHAT, temperature=0, max_tokens=12
    )
    assert answer.choices[0].message.content == model.generate([CHAT], max_tokens=12)[0]
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_readings_are_those_of_the_probe(serving: Serving, model: Model, stream: bool) -> None:
    made: Any = serving.client().completions.create(
        model="smollm2-135m-instruct",
        prompt=PROMPT,
        temperature=0,
        max_tokens=10,
        stream=stream,
        extra_body={"endoscope": {"probes": ["random"]}},
    )
    parts = [p.choices[0] for p in (made if stream else [made])]
    text = PROMPT + "".join(p.text for p in parts)
    ours = [p.endoscope["readings"] for p in parts if getattr(p, "endoscope", None)]
    found = dict(tuple(reading) for one in ours for reading in one["random"])
    expected = 1 - probe_on(model).score(model, [text])[0].probabilities[:, 0]
    assert sorted(found) == list(range(len(expected)))
    assert 0.05 < expected.min() < expected.max() < 0.95
    assert [found[p] for p in range(len(expected))] == pytest.approx(expected.tolist(), abs=2e-4)


def test_a_steered_request_leaves_the_plain_one_beside_it_as_it_is(
    serving: Serving, model: Model
) -> None:
    async def ask(client: openai.AsyncOpenAI, *interventions: Any) -> str:
        answer = await client.chat.completions.create(
            model="smollm2-135m-instruct",
            messages=CHAT,
            temperature=0,
            max_tokens=8,
            extra_body={"endoscope": {"interventions": list(interventions)}},
        )
        return answer.choices[0].message.content or ""

    async def beside() -> list[str]:
        async with serving.later() as client:
            weak, strong = steering(model, 0.7), steering(model, -1.0)
            return await asyncio.gather(ask(client), ask(client, weak), ask(client, strong))

    async def alone() -> list[str]:
        async with serving.later() as client:
            return [
                await ask(client),
                await ask(client, steering(model, 0.7)),
                await ask(client, steering(model, -1.0)),
            ]

    together = asyncio.run(beside())
    assert together == asyncio.run(alone())
    assert len(set(together)) == 3
    assert together[0] == model.generate([CHAT], max_tokens=8)[0]


def test_log_probabilities_are_those_of_the_model(serving: Serving, model: Model) -> None:
    answer = serving.client().completions.create(
        model="smollm2-135m-instruct", prompt=PROMPT, temperature=0, max_tokens=5, logprobs=2
    )
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens is not None
    assert "".join(found.tokens) == answer.choices[0].text
    total = model.log_likelihood([PROMPT], [answer.choices[0].text])[0]
    assert sum(found.token_logprobs or []) == pytest.approx(total, abs=1e-3)
    for token, top, own in zip(
        found.tokens, found.top_logprobs or [], found.token_logprobs or [], strict=True
    ):
        assert len(top) == 2
        assert top[token] == pytest.approx(own), "greedy takes the most probable"


def test_a_closed_stream_frees_its_place_at_the_next_token(serving: Serving) -> None:
    stream = serving.client().completions.create(
        model="smollm2-135m-instruct",
        prompt="Once upon a time",
        max_tokens=400,
        stream=True,
        temperature=0,
    )
    next(iter(stream))
    assert serving.app.worker.slots.running == 1
    stream.close()
    asyncio.run(eventually(lambda: serving.app.worker.slots.running == 0, 3))


def test_sites_that_the_model_does_not_have(serving: Serving, model: Model) -> None:
    for change in ({"site": "resid_post.30"}, {"site": "resid_post.99"}):
        body = {
            "model": "smollm2-135m-instruct",
            "prompt": "x",
            "endoscope": {"interventions": [steering(model) | change]},
        }
        answer = serving.post("/v1/completions", body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "endoscope.interventions[0]"
    too_far = steering(model) | {"units": "absolute", "strength": 1e9}
    body = {
        "model": "smollm2-135m-instruct",
        "prompt": "x",
        "endoscope": {"interventions": [too_far]},
    }
    answer = serving.post("/v1/completions", json.loads(json.dumps(body)))
    assert answer.json()["error"]["code"] == "invalid_intervention"


def test_a_prompt_beyond_the_model_is_refused(serving: Serving) -> None:
    answer = serving.post(
        "/v1/completions", {"model": "smollm2-135m-instruct", "prompt": "word " * 600}
    )
    assert answer.json()["error"]["code"] == "context_length_exceeded"
