"""Capture: the right rows for the right tokens, however texts are batched."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tiny import CONFIGS, save_gappy, save_tiny, tiny_model

import endoscope
from endoscope.engine import Model
from endoscope.engine.batching import plan
from endoscope.errors import InputError
from endoscope.models import Site

TEXTS = [
    "One two three.",
    "",
    "日本語の文です。",
    "x",
    "A longer text than the others are, by far. " * 3,
]
SITE = Site.parse("resid_post.1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return endoscope.open(save_tiny(tmp_path_factory.mktemp("model")), device="cpu")


@given(
    st.lists(st.integers(0, 300), max_size=60),
    st.integers(1, 500),
)
def test_plan_covers_each_sequence_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch in batches:
        padded = max(lengths[i] for i in batch) * len(batch)
        assert len(batch) == 1 or padded <= budget
        assert padded - sum(lengths[i] for i in batch) <= budget // 16
    # A batch ends only where the next sequence would cost too much.
    for one, other in itertools.pairwise(batches):
        longer = other[:1]
        padded = lengths[longer[0]] * (len(one) + 1)
        assert padded > budget or padded - sum(lengths[i] for i in one + longer) > budget // 16


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt_neox", "bert"])
@pytest.mark.parametrize("budget", [1, 64, 100_000])
def test_every_token_has_the_value_it_has_alone(name: str, budget: int, tmp_path: Path) -> None:
    model = tiny_model(name, save_tiny(tmp_path))
    acts = model.capture(TEXTS, [SITE, "attn_out.2"], batch_tokens=budget)
    assert acts.document_ids == ["0", "1", "2", "3", "4"]
    for number, text in enumerate(TEXTS):
        encoded = model.tokenizer.encode(text)
        ids = torch.tensor([encoded.ids])
        alone = model.loaded.module(input_ids=ids, output_hidden_states=True).hidden_states[2][0]
        rows = acts.rows(number)
        assert acts.token_ids[rows].tolist() == encoded.ids
        assert [tuple(o) for o in acts.offsets[rows].tolist()] == encoded.offsets
        torch.testing.assert_close(acts[SITE][rows], alone, rtol=1e-4, atol=1e-5)


def test_capture_is_the_same_bits_as_the_hidden_states_of_its_batch(model: Model) -> None:
    encoded = model.tokenizer.encode_batch(TEXTS[:1] * 3)
    ids = torch.tensor([one.ids for one in encoded])
    expected = model.loaded.module(input_ids=ids, output_hidden_states=True).hidden_states[2]
    acts = model.capture(TEXTS[:1] * 3, SITE)
    assert torch.equal(acts[SITE], expected.reshape(-1, expected.shape[-1]))


def test_the_second_reading_is_of_the_text_in_its_own_context(model: Model) -> None:
    text = "Ab è c"
    acts = model.capture([text], SITE, readings=2)
    body = model.tokenizer.encode(text, special=False)
    bos = model.tokenizer.prefix()
    newline = model.tokenizer.encode("\n", special=False).ids
    whole = torch.tensor([[*bos, *body.ids, *newline, *body.ids]])
    expected = model.loaded.module(input_ids=whole, output_hidden_states=True).hidden_states[2]
    torch.testing.assert_close(acts[SITE], expected[0, -len(body.ids) :])
    assert acts.token_ids.tolist() == body.ids
    assert [tuple(o) for o in acts.offsets.tolist()] == body.offsets


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=12), min_size=1, max_size=6),
    st.integers(1, 80),
    st.sampled_from([1, 2]),
)
def test_batching_never_mixes_documents(
    model: Model, texts: list[str], budget: int, readings: int
) -> None:
    acts = model.capture(texts, SITE, batch_tokens=budget, readings=readings)
    parts = [model.capture([text], SITE, readings=readings) for text in texts]
    assert torch.equal(acts.token_ids, torch.cat([p.token_ids for p in parts]))
    assert torch.equal(acts.offsets, torch.cat([p.offsets for p in parts]))
    torch.testing.assert_close(
        acts[SITE], torch.cat([p[SITE] for p in parts]), rtol=1e-4, atol=1e-5
    )


def test_a_store_holds_what_memory_holds(model: Model, tmp_path: Path) -> None:
    acts = model.capture(TEXTS, [SITE, "mlp_out.0"])
    model.capture_to(tmp_path / "store", TEXTS, [SITE, "mlp_out.0"], batch_tokens=40)
    loaded = endoscope.ActivationStore.open(tmp_path / "store", model.fingerprint).load()
    assert loaded.document_ids == acts.document_ids
    assert torch.equal(loaded.token_ids, acts.token_ids)
    assert torch.equal(loaded.offsets, acts.offsets)
    assert torch.equal(loaded.documents, acts.documents)
    for site in acts.sites:
        torch.testing.assert_close(
            loaded[site].float(), acts[site].bfloat16().float(), rtol=2e-2, atol=1e-4
        )


def test_a_store_with_a_text_without_tokens_opens_again(tmp_path: Path) -> None:
    model = endoscope.open(save_gappy(tmp_path / "gappy"), device="cpu")
    texts = ["one", "\x04", "", "two"]  # the second is not empty, but no token stands for it
    for _ in range(2):
        store = model.capture_to(tmp_path / "store", texts, SITE)
        assert [len(store.document(name)) for name in "0123"] == [3, 0, 0, 3]
    with pytest.raises(InputError, match="made from other data: 1 of its"):
        model.capture_to(tmp_path / "store", ["one", "\x04\x04", "", "two"], SITE)


def test_a_store_of_a_foreign_model_is_refused(model: Model, tmp_path: Path) -> None:
    other = endoscope.open(save_tiny(tmp_path / "other", seed=7), device="cpu")
    model.capture_to(tmp_path / "store", TEXTS, SITE)
    with pytest.raises(InputError, match="another model"):
        endoscope.ActivationStore.open(tmp_path / "store", other.fingerprint)
    with pytest.raises(InputError, match="another model"):
        other.capture_to(tmp_path / "store", TEXTS, SITE)


def test_the_fingerprint_is_of_the_weights_and_not_of_the_precision(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "a")
    exact = endoscope.open(folder, device="cpu")
    half = endoscope.open(folder, device="cpu", dtype="bfloat16")
    assert exact.fingerprint.relation(half.fingerprint) == "same"
    assert (exact.fingerprint.dtype, half.fingerprint.dtype) == ("float32", "bfloat16")


def test_an_adapter_derives_a_model_and_its_strength_counts(tmp_path: Path) -> None:
    import json

    from tests.models.test_loading import make_adapter

    folder = save_tiny(tmp_path / "base")
    adapter = make_adapter(tmp_path / "adapter", str(folder))
    base = endoscope.open(folder, device="cpu").fingerprint
    tuned = endoscope.open(adapter, device="cpu").fingerprint
    assert tuned.relation(base) == "derived"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, "lora_alpha": 99}))
    assert endoscope.open(adapter, device="cpu").fingerprint.relation(tuned) == "foreign"


def test_what_cannot_be_read_is_refused(model: Model) -> None:
    with pytest.raises(InputError, match="0 to 2"):
        model.capture(["x"], "resid_post.3")
    with pytest.raises(InputError, match="list"):
        model.capture("x", SITE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="surrogate at character 1"):
        model.capture(["ok", "a\ud800"], SITE)
    with pytest.raises(InputError, match="same id"):
        model.capture(["a", "b"], SITE, ids=["1", "1"])
    with pytest.raises(InputError, match="1 ids were given for 2"):
        model.capture(["a", "b"], SITE, ids=["1"])
    with pytest.raises(InputError, match=r"'long' has 513 tokens; this model reads 512"):
        model.capture(["ok", "x" * 512], SITE, ids=["ok", "long"])
    with pytest.raises(InputError, match="chat template"):
        model.capture([[{"role": "user", "content": "hi"}]], SITE)


def test_nothing_in_gives_nothing_out(model: Model) -> None:
    acts = model.capture([], SITE)
    assert len(acts) == 0
    assert acts[SITE].shape == (0, 32)


def test_every_tiny_model_opens_from_its_folder(tmp_path: Path) -> None:
    for name in CONFIGS:
        opened = endoscope.open(save_tiny(tmp_path / name, name), device="cpu")
        assert len(opened.capture(["abc"], "attn_out.1")) == 4


def test_a_text_that_is_none_is_named(model: Model) -> None:
    with pytest.raises(InputError, match="not int"):
        model.capture(["fine", 42], "resid_post.0")  # type: ignore[list-item]
