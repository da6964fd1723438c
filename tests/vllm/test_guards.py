"""Guards of `endoscope serve --engine vllm` whose probe reads the model that is served."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest
import torch

import endoscope
from endoscope.engine import Model
from endoscope.engine.batching import Row
from endoscope.engine.requests import Request, Sampling, Step
from endoscope.guard import Redaction
from endoscope.probes import Probe, ProbeData
from endoscope.readouts import LogisticHead, Readout, TokenScores
from endoscope.server.loading import Options, load
from endoscope.server.served import Limits, Served
from tests.server.serving import eventually, running
from tests.vllm.conftest import MODEL, PATIENCE

SITES = "resid_post.9,resid_post.20"
FOODS = ("bread", "cheese", "apples", "fish", "carrots", "honey", "eggs", "rice", "tea", "milk")
GOODS = (
    *("paper", "stones", "letters", "books", "lamps"),
    *("chairs", "shoes", "tools", "paint", "rope"),
)
SAID = [
    "She went to the shop and bought {} for her mother.",
    "There was {} on the table, and a red book.",
    "The children sat in the garden and ate {} with a spoon.",
    "In the morning he sold {} near the old bridge.",
    "My brother has a car, a dog and some {} in the house.",
]
PROMPTS = [
    "At the market she bought apples, bread,",
    "The farmer sells eggs, milk and",
    "For breakfast I like to have",
    "The soup is made of onions,",
    "A list of things to buy: 1. rice 2.",
    "Yesterday the weather was cold and",
]
SHOPPING = [PROMPTS[4], "He bought paper, rope, paint and", "The old chairs and lamps, made of"]
TOKENS = 40
THRESHOLD = 0.5  # of a whole answer
PUSH = {"kind": "add", "site": "resid_post.20", "strength": 90}
"""What the broken probe cannot stand, and the model can."""


@pytest.fixture(scope="module")
def model() -> Model:
    return endoscope.open(MODEL, dtype="float32")


@pytest.fixture(scope="module")
def policies(model: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Guards for food, and one whose probe finds nothing and breaks where it is pushed."""
    folder = tmp_path_factory.mktemp("guards")
    texts = [(said.format(food), said.index("{"), food) for said in SAID for food in FOODS]
    lines = [
        {"id": text, "text": text, "spans": [[at, at + len(food), "FOOD"]]}
        for text, at, food in texts
    ]
    (folder / "food.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    data = ProbeData.read(folder / "food.jsonl")
    probe = Probe.fit(model, data, sites=SITES, look_ahead=1)
    probe.save(folder / "food")
    # Log-odds far below zero, and of the largest size: those above are infinite, and no number.
    weight = torch.stack([torch.zeros(probe.head.n_features), torch.ones(probe.head.n_features)])
    head = LogisticHead(weight, torch.tensor([0.0, -1e5]), probe.labels)
    details = probe.card.details | {"calibration": {"scale": [1e308], "shift": [0.0]}}
    card = probe.card.model_copy(update={"details": details})
    replace(probe, head=head, card=card).save(folder / "broken")
    about = [
        {"id": said.format(thing), "text": said.format(thing), "label": label}
        for label, things in (("FOOD", FOODS), ("ELSE", GOODS))
        for said in SAID
        for thing in things
    ]
    (folder / "topic.jsonl").write_text("\n".join(map(json.dumps, about)), encoding="utf-8")
    Probe.fit(model, ProbeData.read(folder / "topic.jsonl"), sites="resid_post.15").save(
        folder / "topic"
    )
    rule = {"FOOD": {"threshold": THRESHOLD, "action": "stop"}}
    judging = {"name": "topic", "probe": "topic", "scope": "document", "labels": rule}
    (folder / "topic.yaml").write_text(json.dumps(judging), encoding="utf-8")
    for name, action, reads in (
        ("hide", "redact", "food"),
        ("end", "stop", "food"),
        ("broken", "redact", "broken"),
    ):
        policy = {
            "name": name,
            "probe": reads,
            "validators": False,
            "labels": {"FOOD": {"threshold": 0.6, "action": action}},
        }
        (folder / f"{name}.yaml").write_text(json.dumps(policy), encoding="utf-8")
    return {name: str(folder / f"{name}.yaml") for name in ("hide", "end", "broken", "topic")}


class Serving(NamedTuple):
    """A server in this process, and the vLLM behind it."""

    url: str
    served: Served

    @property
    def vllm(self) -> Any:
        return self.served.engine._core._engine  # type: ignore[attr-defined]

    def plain(self, ids: Sequence[int], guard: str) -> list[Step]:
        """What comes of a prompt if it is only read."""
        request = Request("plain", tuple(ids), Sampling(TOKENS, temperature=0.0))
        readouts = dict(self.served.guards[guard].readouts)
        return list(self.served.engine.iterate(replace(request, readouts=readouts)))  # type: ignore[attr-defined]

    def ask(self, *asked: dict[str, Any]) -> list["Answer"]:
        """Send requests, all at once."""

        async def together() -> list[Answer]:
            async with httpx.AsyncClient(timeout=PATIENCE) as client:
                posts = (client.post(f"{self.url}/v1/completions", json=one) for one in asked)
                return [Answer.of(answer) for answer in await asyncio.gather(*posts)]

        return asyncio.run(together())

    def nothing_runs(self) -> None:
        """Wait until vLLM has nothing to do; it would have for long if a request went on."""
        asyncio.run(eventually(lambda: self.vllm.get_num_unfinished_requests() == 0))


class Answer(NamedTuple):
    """What came of a request, streamed or not."""

    text: str
    finish: str | None
    spans: list[tuple[int, int]]
    error: str | None
    raw: str

    @classmethod
    def of(cls, answer: httpx.Response) -> "Answer":
        lines = answer.text.splitlines()
        events = [line.removeprefix("data: ") for line in lines if line not in ("", "data: [DONE]")]
        parts = [json.loads(event) for event in events]
        choices = [part["choices"][0] for part in parts if "choices" in part]
        ours = [one["endoscope"]["guard"] for one in choices if "guard" in one.get("endoscope", {})]
        errors = [part["error"]["message"] for part in parts if "error" in part]
        return cls(
            "".join(one["text"] for one in choices),
            next((one["finish_reason"] for one in choices if one["finish_reason"]), None),
            [(span["start"], span["end"]) for one in ours for span in one.get("spans", [])],
            errors[0] if errors else None,
            answer.text,
        )


@pytest.fixture(scope="module")
def serving(policies: dict[str, str]) -> Iterator[Serving]:
    served = load(
        Options(
            MODEL,
            dtype="float32",
            engine="vllm",
            guards=policies,
            limits=Limits(requests=8),
            vllm={"enforce_eager": True, "max_model_len": 512},
        )
    )
    with running(served) as (url, _):
        serving = Serving(url, served)
        yield serving
    served.engine.close()  # type: ignore[attr-defined]
    serving.vllm.engine_core.shutdown()


@pytest.fixture(scope="module")
def prompts(model: Model) -> list[list[int]]:
    return [model.tokenizer.encode(prompt).ids for prompt in PROMPTS]


def asked(ids: Sequence[int], guard: str, **more: Any) -> dict[str, Any]:
    ours = {"guards": [guard], **more.pop("endoscope", {})}
    body = {"model": MODEL, "prompt": list(ids), "max_tokens": TOKENS, "temperature": 0}
    return {**body, "endoscope": ours, **more}


def about_food(
    model: Model, readouts: Mapping[str, Readout], ids: Sequence[int]
) -> list[tuple[Step, float]]:
    """How much transformers finds a text to be about food with each token that it goes on with."""
    sampling = Sampling(TOKENS, temperature=0.0, ignore_eos=True)
    steps = list(model.engine.iterate(Request("r", tuple(ids), sampling, readouts)))
    (readout,) = readouts.values()
    food = readout.labels.index("FOOD")
    read = {one.position: one for step in steps for got in step.readings.values() for one in got}
    return [
        (step, float(read[len(ids) + number].probabilities[food]))
        for number, step in enumerate(steps)
    ]


def redacted(serving: Serving, model: Model, ids: Sequence[int]) -> Redaction:
    """The oracle: what the guard makes of the finished text, as transformers reads it at once."""
    guard = serving.served.guards["hide"]
    (readout,) = guard.readouts.values()
    steps = [step for step in serving.plain(ids, "hide") if step.span[0] < step.span[1]]
    row = Row([*ids, *(step.token_id for step in steps)], start=0)
    ((_, values),) = model.engine.read([row], readout.spec.sites, batch_tokens=512)
    stream = readout.stream()
    scores = [*stream.push(values), *stream.finish()][len(ids) :]
    told = TokenScores(
        torch.tensor([step.span for step in steps]),
        torch.stack([one.probabilities for one in scores]),
        readout.labels,
    )
    assert guard.offline is not None
    text = "".join(step.text for step in steps)
    return guard.offline.replace(text, guard.offline.spans(text, told))


@pytest.mark.parametrize("stream", [True, False])
def test_what_goes_out_is_the_redaction_of_the_finished_text(
    serving: Serving, model: Model, prompts: list[list[int]], stream: bool
) -> None:
    expected = [redacted(serving, model, ids) for ids in prompts]
    answers = serving.ask(*(asked(ids, "hide", stream=stream) for ids in prompts))
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer.text == wanted.redacted
        assert answer.spans == [(span.start, span.end) for span in wanted.spans]
        assert answer.finish in ("length", "stop")
    assert sum(bool(wanted.spans) for wanted in expected) > 3
    assert any("[FOOD]" in answer.text for answer in answers)
    assert not all(wanted.spans for wanted in expected)  # one has nothing to be taken out


@pytest.mark.parametrize("stream", [True, False])
def test_a_stop_ends_the_answer_where_the_value_begins(
    serving: Serving, model: Model, prompts: list[list[int]], stream: bool
) -> None:
    plain = [serving.plain(ids, "end") for ids in prompts]
    spans = [redacted(serving, model, ids).spans for ids in prompts]
    answers = serving.ask(*(asked(ids, "end", stream=stream, logprobs=1) for ids in prompts))
    for answer, steps, found in zip(answers, plain, spans, strict=True):
        text = "".join(step.text for step in steps)
        if not found:
            assert (answer.text, answer.finish) == (text, steps[-1].finish)
            continue
        first = found[0]
        assert answer.text == text[: first.start]
        assert answer.finish == "content_filter"
        assert text[first.start : first.end].strip() not in answer.raw
    serving.nothing_runs()


def test_a_stop_ends_the_request_in_vllm(
    serving: Serving, prompts: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in what the engine core sends: soon after the guard has decided nothing comes."""
    guard, ids = serving.served.guards["end"], prompts[0]
    watch = guard.watch(Request("x", tuple(ids)))
    decided = 0
    for step in serving.plain(ids, "end"):
        watch.take(step)
        decided += 1
        if watch.stream.stopped:
            break
    core, sent = serving.vllm.engine_core, Counter[str]()
    original = core.get_output

    def counting() -> Any:
        outputs = original()
        for one in outputs.outputs:
            sent[one.request_id] += len(one.new_token_ids)
        return outputs

    monkeypatch.setattr(core, "get_output", counting)
    serving.ask(asked(ids, "end"))
    serving.nothing_runs()
    (stopped,) = sent
    serving.plain(prompts[1], "end")  # with it comes what the core has sent since
    assert decided <= sent[stopped] < TOKENS // 2


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_is_judged_as_a_whole(serving: Serving, model: Model, stream: bool) -> None:
    """What goes out ends before the first token with which it is found to be about food."""
    prompts = [model.tokenizer.encode(prompt).ids for prompt in SHOPPING]
    answers = serving.ask(*(asked(ids, "topic", stream=stream) for ids in prompts))
    for ids, answer in zip(prompts, answers, strict=True):
        judged = about_food(model, serving.served.guards["topic"].readouts, ids)
        found = [number for number, (_, score) in enumerate(judged) if score >= THRESHOLD]
        assert answer.text == "".join(step.text for step, _ in judged[: (*found, TOKENS)[0]])
        assert answer.finish == ("content_filter" if found else "length")
        assert answer.text
    assert {answer.finish for answer in answers} == {"content_filter", "length"}
    serving.nothing_runs()


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("position", [1, 15])
def test_nothing_goes_out_that_was_not_scored(
    serving: Serving, model: Model, prompts: list[list[int]], stream: bool, position: int
) -> None:
    """The model goes on where the readout gives no number; what is beside it goes out."""
    ids = prompts[0]
    push = {**PUSH, "vector": [1.0] * model.d_model, "positions": [position]}
    ours = {"interventions": [push]}
    steps = serving.plain(ids, "broken")
    intact, broken, beside = serving.ask(
        asked(ids, "broken", stream=stream),
        asked(ids, "broken", stream=stream, endoscope=ours),
        asked(prompts[1], "hide", stream=stream),
    )
    assert intact.text == "".join(step.text for step in steps)
    assert beside.text == redacted(serving, model, prompts[1]).redacted
    assert broken.error == "A readout gave no number."
    assert broken.finish is None
    unscored = max(0, position - len(ids))
    assert "".join(step.text for step in steps[:unscored]).startswith(broken.text)
    assert bool(broken.text) == (stream and unscored > 0)
    serving.nothing_runs()
