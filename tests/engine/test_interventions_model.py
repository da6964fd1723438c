"""`Model.intervene`, `log_likelihood` and `typical_norm`, against Hugging Face and by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tiny import CONFIGS, save_tiny, tiny_model

import endoscope
from endoscope import InputError, ablate, add, scale
from endoscope.engine import Model
from endoscope.engine.norms import reference_texts
from endoscope.interventions import Gate
from endoscope.models import Site
from endoscope.readouts import FeatureSpec, LogisticHead, Readout

CAUSAL = sorted(set(CONFIGS) - {"bert"})
D = 32
DELTA = torch.randn(D, generator=torch.Generator().manual_seed(5))
UNIT = DELTA / DELTA.norm()
TEXTS = ["One two three.", "日本語の文です。", "x", "A longer text than the others. " * 2]
SITE = Site.parse("resid_post.1")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENDOSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return endoscope.open(save_tiny(tmp_path_factory.mktemp("model")), device="cpu")


def push(site: Site | str, strength: float = 4.0, **more: Any) -> endoscope.Intervention:
    return add(DELTA, strength, units="absolute", site=site, **more)


def test_capture_reads_what_was_written(model: Model) -> None:
    plain = model.capture(TEXTS, ["resid_post.0", SITE, "attn_out.2"])
    with model.intervene(push(SITE)) as same:
        assert same is model
        assert [one.kind for one in model.interventions] == ["add"]
        acts = model.capture(TEXTS, ["resid_post.0", SITE, "attn_out.2"], batch_tokens=50)
    assert model.interventions == ()
    torch.testing.assert_close(acts["resid_post.0"], plain["resid_post.0"])
    torch.testing.assert_close(acts[SITE], plain[SITE] + 4 * UNIT)
    assert not torch.allclose(acts["attn_out.2"], plain["attn_out.2"], atol=1e-2)
    assert torch.equal(model.capture(TEXTS, SITE)[SITE], plain[SITE])


def test_a_text_that_is_captured_is_a_prompt(model: Model) -> None:
    plain = model.capture(TEXTS, SITE)
    last = [plain.rows(i).stop - 1 for i in range(len(TEXTS))]
    for positions, expected in (
        ("generated", last),
        ("prompt", [row for row in range(len(plain)) if row not in last]),
    ):
        with model.intervene(push(SITE, positions=positions)):
            changed = (model.capture(TEXTS, SITE)[SITE] - plain[SITE]).abs().amax(1) > 0.1
        assert changed.nonzero()[:, 0].tolist() == expected


def test_blocks_within_blocks_add_theirs_after_those_outside(model: Model) -> None:
    plain = model.capture(TEXTS, SITE)[SITE]
    with model.intervene(push(SITE)):
        with model.intervene(scale(DELTA, 0.5, site=SITE)):
            inner = model.capture(TEXTS, SITE)[SITE]
        outer = model.capture(TEXTS, SITE)[SITE]
    with model.intervene(scale(DELTA, 0.5, site=SITE), push(SITE)):
        other = model.capture(TEXTS, SITE)[SITE]
    along = plain @ UNIT
    torch.testing.assert_close(inner @ UNIT, (along + 4) / 2)
    torch.testing.assert_close(outer @ UNIT, along + 4)
    torch.testing.assert_close(other @ UNIT, along / 2 + 4)


def test_a_block_that_fails_leaves_the_model_as_it_was(model: Model) -> None:
    with pytest.raises(ZeroDivisionError), model.intervene(push(SITE)):
        _ = 1 / 0
    assert model.interventions == ()
    with pytest.raises(InputError, match="0 to 2"), model.intervene(push("resid_post.3")):
        pass
    assert model.interventions == ()


def test_what_does_not_fit_is_refused(model: Model) -> None:
    for wrong, match in (
        (add(torch.ones(8), 1, site=SITE), "8 numbers; this model has 32"),
        (push("resid_post.7"), "0 to 2"),
        ([push(SITE)], "one by one"),
        (push(SITE, 1e5), "100 times"),
    ):
        with pytest.raises(InputError, match=match):
            model.intervene(wrong).__enter__()  # type: ignore[arg-type]
    parallel = tiny_model("gpt_neox")
    with pytest.raises(InputError, match="parallel"):
        parallel.intervene(ablate(DELTA, site="resid_mid.1")).__enter__()
    encoder = tiny_model("bert")
    with pytest.raises(InputError, match="does not generate"):
        encoder.intervene(ablate(DELTA, site=SITE, positions="generated")).__enter__()


def test_a_store_of_a_changed_model_is_not_taken_for_a_plain_one(
    model: Model, tmp_path: Path
) -> None:
    plain = model.fingerprint
    with model.intervene(push(SITE)):
        changed = model.fingerprint
        assert changed.relation(plain) == "derived"
        assert "add at resid_post.1" in str(changed)
        for _ in range(2):  # the second time it resumes
            model.capture_to(tmp_path / "store", TEXTS, SITE)
        acts = model.capture(TEXTS, SITE)
        assert acts.fingerprint == changed
    with pytest.raises(InputError, match="another model"):
        model.capture_to(tmp_path / "store", TEXTS, SITE)
    with (
        model.intervene(push(SITE, 4.5)),
        pytest.raises(InputError, match="another model"),
    ):
        model.capture_to(tmp_path / "store", TEXTS, SITE)
    stored = endoscope.ActivationStore.open(tmp_path / "store").load()
    torch.testing.assert_close(stored[SITE].float(), acts[SITE], rtol=1e-2, atol=1e-2)
    assert model.fingerprint == plain


def gate_on(site: str, look_ahead: int = 0) -> Gate:
    """Open where the first number at the site is positive."""
    spec = FeatureSpec((site,), look_ahead)
    weight = torch.zeros(2, spec.width(D))
    weight[1, 0] = 1
    return Gate(readout=Readout(spec, LogisticHead(weight, torch.zeros(2), ("O", "X"))), label="X")


def test_a_gate_acts_within_a_capture_and_does_not_read_bos(model: Model) -> None:
    plain = model.capture(TEXTS, ["resid_post.0", SITE])
    with model.intervene(push(SITE, gate=gate_on("resid_post.0"))):
        changed = model.capture(TEXTS, SITE)[SITE]
    special = plain.offsets[:, 0] == plain.offsets[:, 1]
    assert special.sum() == len(TEXTS)
    opens = (plain["resid_post.0"][:, 0] >= 0) & ~special
    assert (plain["resid_post.0"][special, 0] >= 0).any()
    torch.testing.assert_close(changed, plain[SITE] + opens[:, None] * 4 * UNIT)


def test_a_gate_of_several_sites_reads_resid_mid_before_it_is_written(model: Model) -> None:
    """Written in place, it must not change what the gate is still to use."""
    sites = ["resid_mid.1", "mlp_out.1"]
    turned = push("resid_mid.1", 40.0)
    with model.intervene(turned):
        later = model.capture(TEXTS, "mlp_out.1")["mlp_out.1"][:, 0]
    plain = model.capture(TEXTS, [*sites, SITE])
    spec = FeatureSpec(tuple(map(Site.parse, sites)))
    weight = torch.zeros(2, 2 * D)
    weight[1, [0, D]] = 1
    gate = Gate(readout=Readout(spec, LogisticHead(weight, torch.zeros(2), ("O", "X"))), label="X")
    with model.intervene(turned):
        moved = model.capture(TEXTS, SITE)[SITE]
    with model.intervene(turned, push(SITE, gate=gate)):
        gated = model.capture(TEXTS, SITE, batch_tokens=1)[SITE]  # without padding: no copies
    special = plain.offsets[:, 0] == plain.offsets[:, 1]
    opens = (plain["resid_mid.1"][:, 0] + later >= 0) & ~special
    written = plain["resid_mid.1"][:, 0] + 40 * UNIT[0] + later >= 0
    assert (opens != written)[~special].any()
    torch.testing.assert_close(gated, moved + opens[:, None] * 4 * UNIT, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gate", [gate_on("resid_post.2"), gate_on("resid_post.1", 1)])
def test_a_gate_that_needs_more_passes_is_refused_where_there_is_one(
    model: Model, gate: Gate
) -> None:
    with model.intervene(push(SITE, gate=gate)):
        with pytest.raises(InputError, match="next forward pass"):
            model.capture(TEXTS, SITE)
        with pytest.raises(InputError, match="next forward pass"):
            model.log_likelihood(["a"], ["b"])


PROMPTS = ["The capital of France is", "x", "日本", "Once upon a time " * 4]
CONTINUATIONS = [" Paris.", "yz" * 20, "語", " there was"]


def hf_likelihood(model: Model, prompt: str, continuation: str) -> float:
    """By Hugging Face's own loss, which is a mean over the tokens that have a label."""
    before = model.tokenizer.encode(prompt).ids
    after = model.tokenizer.encode(continuation, special=False).ids
    ids = torch.tensor([[*before, *after]])
    labels = torch.tensor([[*[-100] * len(before), *after]])
    return -float(model.loaded.module(input_ids=ids, labels=labels).loss) * len(after)


@pytest.mark.parametrize("name", CAUSAL)
def test_log_likelihood_is_that_of_hugging_face(name: str) -> None:
    model = tiny_model(name)
    expected = [hf_likelihood(model, *pair) for pair in zip(PROMPTS, CONTINUATIONS, strict=True)]
    for budget in (1, 4096):
        found = model.log_likelihood(PROMPTS, CONTINUATIONS, batch_tokens=budget)
        assert found == pytest.approx(expected, rel=1e-4)


def test_log_likelihood_runs_changed(model: Model) -> None:
    """At the last site, where what follows is the final norm and the head alone."""
    last = Site.parse("resid_post.2")
    plain = model.log_likelihood(PROMPTS, CONTINUATIONS)
    with model.intervene(push(last, positions="generated")):
        changed = model.log_likelihood(PROMPTS, CONTINUATIONS)
    with model.intervene(push(last)):
        everywhere = model.log_likelihood(PROMPTS, CONTINUATIONS)
    module: Any = model.loaded.module
    for number, (prompt, continuation) in enumerate(zip(PROMPTS, CONTINUATIONS, strict=True)):
        before = model.tokenizer.encode(prompt).ids
        after = model.tokenizer.encode(continuation, special=False).ids
        hidden = model.capture([prompt + continuation], last)[last]
        logits = module.lm_head(module.model.norm(hidden + 4 * UNIT)).log_softmax(-1)
        expected = sum(float(logits[len(before) - 1 + i, token]) for i, token in enumerate(after))
        assert changed[number] == pytest.approx(expected, rel=1e-4)
        assert everywhere[number] == pytest.approx(expected, rel=1e-4)
        assert abs(changed[number] - plain[number]) > 1e-2


def test_positions_of_a_continuation_are_generated(model: Model) -> None:
    """A change of the prompt before its last token is no change of what is generated."""
    first = Site.parse("resid_post.0")
    with model.intervene(push(first, positions="prompt"), push(first, positions="generated")):
        both = model.log_likelihood(PROMPTS, CONTINUATIONS)
    with model.intervene(push(first)):
        assert model.log_likelihood(PROMPTS, CONTINUATIONS) == pytest.approx(both, rel=1e-4)
    with model.intervene(push(first, positions="generated")):
        assert model.log_likelihood(PROMPTS, CONTINUATIONS) != pytest.approx(both, rel=1e-4)


def test_a_conversation_is_continued_where_the_model_speaks(tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "chat"), device="cpu")
    model.tokenizer.hf.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    found = model.log_likelihood([[{"role": "user", "content": "Hi"}]], ["Hello"])
    assert found == pytest.approx([hf_likelihood(model, "<user>Hi<assistant>", "Hello")], rel=1e-4)


def test_what_has_no_likelihood_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="1 continuations were given for 2"):
        model.log_likelihood(["a", "b"], ["c"])
    with pytest.raises(InputError, match="Continuation 1 has no tokens"):
        model.log_likelihood(["a", "b"], ["c", ""])
    with pytest.raises(InputError, match="reads 512"):
        model.log_likelihood(["a" * 300], ["b" * 300])
    with pytest.raises(InputError, match="both directions"):
        tiny_model("bert").log_likelihood(["a"], ["b"])
    assert model.log_likelihood([], []) == []


def test_a_typical_norm_is_the_median_without_first_tokens(model: Model) -> None:
    norms = []
    for text in reference_texts():
        ids = torch.tensor([model.tokenizer.encode(text).ids])
        hidden = model.loaded.module(input_ids=ids, output_hidden_states=True).hidden_states[2]
        norms.append(hidden[0, 1:].norm(dim=1))
    expected = float(torch.cat(norms).median())
    assert model.typical_norm(SITE) == pytest.approx(expected, rel=1e-5)
    with model.intervene(push(SITE)):  # what a strength is measured by does not change with it
        assert model.typical_norm(SITE) == pytest.approx(expected, rel=1e-5)
    with model.intervene(add(DELTA, 2, site=SITE)):
        changed = model.capture(TEXTS, SITE)[SITE]
    moved = changed - model.capture(TEXTS, SITE)[SITE]
    torch.testing.assert_close(moved.norm(dim=1), torch.full((len(moved),), 2 * expected))
    with pytest.raises(InputError, match="0 to 2"):
        model.typical_norm("resid_post.3")


def test_typical_norms_are_kept_by_model_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDOSCOPE_CACHE", str(tmp_path / "cache"))
    folder = save_tiny(tmp_path / "model", seed=3)
    first = endoscope.open(folder, device="cpu")
    norms = [first.typical_norm(f"mlp_out.{layer}") for layer in range(3)]

    again = endoscope.open(folder, device="cpu")
    monkeypatch.setattr(again.engine, "read", None)  # nothing is measured again
    assert [again.typical_norm(f"mlp_out.{layer}") for layer in range(3)] == norms

    other = endoscope.open(save_tiny(tmp_path / "other", seed=4), device="cpu")
    assert other.typical_norm("mlp_out.0") != norms[0]
    half = endoscope.open(folder, device="cpu", dtype="bfloat16")
    assert half.typical_norm("mlp_out.0") != norms[0]
    assert half.typical_norm("mlp_out.0") == pytest.approx(norms[0], rel=0.05)

    for file in (tmp_path / "cache" / "norms").iterdir():
        file.write_text("{broken")
    healed = endoscope.open(folder, device="cpu")
    assert healed.typical_norm("mlp_out.0") == norms[0]


def test_the_reference_texts_are_of_two_languages_and_about_400_tokens() -> None:
    texts = reference_texts()
    assert len(texts) == 8
    assert sum(text.isascii() for text in texts) == 4
