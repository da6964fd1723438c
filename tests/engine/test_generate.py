"""Model.generate and Model.stream: on tiny models, and once on a real one."""

import dataclasses
from pathlib import Path

import pytest
import torch
import transformers
from tests.engine.streams import alone, check, greedy, opened, readout, run, same

import endoscope
from endoscope.engine import Model
from endoscope.engine.generate import prompt_ids
from endoscope.engine.requests import Limits
from endoscope.errors import InputError
from endoscope.interventions import ablate, add
from endoscope.probes import Probe

PROMPTS = ["One", "", "日本語 and a longer text than the others"]


@pytest.fixture(scope="module")
def model() -> Model:
    return opened("llama")


@pytest.fixture(scope="module")
def smollm2() -> Model:
    return endoscope.open("smollm2-135m-instruct", device="cpu", dtype="float32")


def test_texts_come_in_the_order_of_their_prompts(model: Model) -> None:
    texts = model.generate(PROMPTS, max_tokens=7)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        assert model.generate([prompt], max_tokens=7) == [text]
        assert "".join(step.text for step in model.stream(prompt, max_tokens=7)) == text
    assert model.generate([]) == []


def test_interventions_and_readouts_come_along(model: Model) -> None:
    steer = add(torch.eye(32)[1], 20.0, site="resid_post.1", units="absolute")
    request = greedy("a", model.tokenizer.encode("One").ids, 7, {}, (steer,), ignore_eos=False)
    expected = "".join(step.text for step in alone(model, request))
    with model.intervene(steer):
        assert model.generate(["One"], max_tokens=7) == [expected]
        read = list(model.stream("One", max_tokens=7, readouts={"p": readout("resid_post.1")}))
    assert "".join(step.text for step in read) == expected
    assert sum(len(step.readings.get("p", ())) for step in read) >= 3 + len(read) - 1
    assert model.generate(["One"], max_tokens=7) != [expected]


def test_a_seed_repeats_and_prompts_differ(model: Model) -> None:
    one, other = (model.generate(["a", "a"], max_tokens=9, temperature=1.0, seed=s) for s in (1, 1))
    assert one == other
    assert one[0] != one[1]
    assert model.generate(["a"], max_tokens=9, temperature=1.0, seed=2) != one[:1]


def test_what_cannot_be_generated_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="Put it in a list"):
        model.generate("text")
    with pytest.raises(InputError, match="Give a list"):
        model.generate(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not NoneType"):
        model.generate([None])  # type: ignore[list-item]
    with pytest.raises(InputError, match="stop is"):
        model.generate(["text"], stop=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="chat template"):
        model.generate([[{"role": "user", "content": "hi"}]])
    with pytest.raises(InputError, match="more than the 512"):
        model.generate(["x" * 600])


def test_a_conversation_ends_with_the_beginning_of_the_answer(smollm2: Model) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    expected = smollm2.tokenizer.hf.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    assert list(prompt_ids(smollm2.engine, messages)) == expected


def test_a_real_model_says_in_company_what_it_says_alone(smollm2: Model) -> None:
    chat = prompt_ids(smollm2.engine, [{"role": "user", "content": "Name two colours."}])
    plain = smollm2.tokenizer.encode("The capital of France is").ids
    vector = torch.randn(576, generator=torch.Generator().manual_seed(1))
    probe = readout("resid_post.12", d_model=576)
    ahead = readout("resid_mid.20", look_ahead=1, d_model=576)
    steer = (add(vector, 0.5, site="resid_post.12"),)
    requests = [
        greedy("chat", chat, 10, {"p": probe}),
        greedy("plain", plain, 8),
        greedy("steered", plain, 8, {"p": probe, "q": ahead}, steer),
        greedy("cut", plain, 8, {}, (ablate(vector, site="resid_pre.9"),)),
    ]
    core = smollm2.engine.core(Limits(requests=3, prompt_tokens=16))
    steps = run(core, [(2 * i, one) for i, one in enumerate(requests)])
    for one in requests:
        check(smollm2, one, steps[one.id])
        same(steps[one.id], alone(smollm2, one))
    given = torch.tensor([plain])
    expected = smollm2.loaded.module.generate(
        given,
        attention_mask=torch.ones_like(given),
        generation_config=transformers.GenerationConfig(max_new_tokens=8, pad_token_id=0),
    )
    assert [step.token_id for step in steps["plain"]] == expected[0, len(plain) :].tolist()


def test_what_streams_is_what_scoring_the_whole_text_gives(smollm2: Model) -> None:
    probe = Probe.load(Path(endoscope.__file__).parent / "probes/shipped/pii-smollm2-135m-instruct")
    # It was fitted on second readings; here the same numbers are used on the first.
    probe = dataclasses.replace(probe, spec=dataclasses.replace(probe.spec, readings=1))
    prompt = "My name is Anna Smith and my number is"
    steps = list(smollm2.stream(prompt, max_tokens=8, readouts={"pii": probe.readout}))
    text = prompt + "".join(step.text for step in steps)
    expected = probe.score(smollm2, [text])[0].probabilities
    found = [reading for step in steps for reading in step.readings.get("pii", ())]
    assert [reading.position for reading in found] == list(range(len(expected)))
    torch.testing.assert_close(
        torch.stack([reading.probabilities for reading in found]), expected, rtol=0, atol=1e-5
    )
