"""Forms of an edit against the live one, on every architecture."""

from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import endoscope
from endoscope.edit.changes import changes_of, onto_base
from endoscope.edit.forms.adapter import write_adapter
from endoscope.edit.forms.weights import write_weights
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.interventions import (
    Ablate,
    Add,
    Clamp,
    ClampFeature,
    Erase,
    Intervention,
    Rotate,
    Scale,
)
from tests.engine.test_interventions_model import gate_on
from tests.tiny import CONFIGS, save_tiny, tiny_module

TEXTS = ["hello world", "abc", "Wörter, 言葉"]
NORMED = {"gemma2", "gemma3", "olmo2"}  # a norm follows what writes to the stream
BIASED = {"gpt2", "gpt_neox", "gpt_neox_serial", "bert"}
MIXTURES = {"mixtral", "deepseek_v3"}
D = 32


def vectors(count: int, seed: int = 0) -> tuple[tuple[float, ...], ...]:
    random = torch.Generator().manual_seed(seed)
    return tuple(tuple(row) for row in torch.randn(count, D, generator=random).tolist())


def linear(site: str) -> list[Intervention]:
    """One after the other, at one site, none orthogonal to another."""
    return [
        Ablate(site=site, basis=vectors(2)),
        Scale(site=site, basis=vectors(1, 1), factor=2.5),
        Rotate(site=site, plane=vectors(2, 2), degrees=40),
        Erase(site=site, left=vectors(1, 3), right=vectors(1, 4), mean=(0.0,) * D),
    ]


def constant(site: str) -> list[Intervention]:
    return [
        Add(site=site, vector=vectors(1, 5)[0], strength=0.7),
        Clamp(site=site, vector=vectors(1, 6)[0], value=0.5),
        Erase(site=site, left=vectors(1, 7), right=vectors(1, 8), mean=vectors(1, 9)[0]),
    ]


@pytest.fixture(params=sorted(CONFIGS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(name: str, tmp_path: Path) -> Model:
    return endoscope.open(save_tiny(tmp_path / "model", name))


def same(one: Model, other: Model, live: list[Intervention]) -> None:
    """Both say the same of texts, at the end of the stream and of the next tokens."""
    last = f"resid_post.{one.n_layers - 1}"
    plain = one.capture(TEXTS, last)[last]
    with one.intervene(*live):
        expected = one.capture(TEXTS, last)[last]
        said = one.log_likelihood(TEXTS, ["xyz"] * 3) if one.capabilities.causal else []
    assert (expected - plain).abs().max() > 0.05  # it does something
    scale = expected.abs().max()
    assert (other.capture(TEXTS, last)[last] - expected).abs().max() < 1e-5 * scale
    if said:
        assert other.log_likelihood(TEXTS, ["xyz"] * 3) == pytest.approx(said, abs=1e-3)


def written(model: Model, live: list[Intervention], form: Any, folder: Path) -> Model:
    folder.mkdir()
    form(model, onto_base(model.loaded.module, changes_of(model, live)), folder)
    return endoscope.open(folder)


def test_what_is_linear_is_exact_as_weights_where_matrices_write(
    name: str, model: Model, tmp_path: Path
) -> None:
    live = [*linear("attn_out.1"), *linear("mlp_out.2"), *linear("mlp_out.0")]
    if name in NORMED:
        with pytest.raises(InputError, match=r"norm stands between.* keep it live"):
            changes_of(model, live)
        return
    same(model, written(model, live, write_weights, tmp_path / "edited"), live)


def test_a_constant_needs_a_bias(name: str, model: Model, tmp_path: Path) -> None:
    live = [*linear("mlp_out.1"), *constant("mlp_out.1"), *linear("attn_out.1")]
    if name not in BIASED:
        reason = "norm stands between" if name in NORMED else "no bias"
        with pytest.raises(InputError, match=reason):
            changes_of(model, live)
        return
    same(model, written(model, live, write_weights, tmp_path / "edited"), live)


def test_embeddings_are_matrices_too(name: str, model: Model, tmp_path: Path) -> None:
    live = linear("resid_pre.0")
    if name == "bert":
        with pytest.raises(InputError, match="norm stands between the embedding"):
            changes_of(model, live)
        return
    same(model, written(model, live, write_weights, tmp_path / "weights"), live)
    same(model, written(model, live, write_adapter, tmp_path / "adapter"), live)


def test_an_ablation_of_the_whole_stream_leaves_nothing_of_it(
    name: str, model: Model, tmp_path: Path
) -> None:
    if name in NORMED | {"bert"}:
        pytest.skip("a norm stands between")
    sites = ["resid_pre.0"] + [f"{kind}.{n}" for kind in ("attn_out", "mlp_out") for n in range(3)]
    basis = vectors(2)
    live: list[Intervention] = [Ablate(site=site, basis=basis) for site in sites]
    edited = written(model, live, write_weights, tmp_path / "edited")
    same(model, edited, live)
    kinds = edited.loaded.anatomy.kinds
    everywhere = [f"{kind}.{n}" for kind in kinds for n in range(3)]
    read = edited.capture(TEXTS, everywhere)
    for site in everywhere:
        assert (read[site] @ torch.tensor(basis).T).abs().max() < 1e-4


def test_an_adapter_holds_what_is_linear(name: str, model: Model, tmp_path: Path) -> None:
    live = [*linear("attn_out.1"), *linear("mlp_out.2")]
    if name in NORMED:
        pytest.skip("refused in any form")
    if name in BIASED or name in MIXTURES:
        with pytest.raises(InputError, match=r"bias|experts"):
            written(model, live, write_adapter, tmp_path / "edited")
        return
    same(model, written(model, live, write_adapter, tmp_path / "edited"), live)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positions": "generated"}, "at some positions"),
        ({"keep_norm": True}, "keeps the norm"),
        ({"site": "resid_post.1"}, r"the sum of all.*attn_out.1 or mlp_out.1"),
        ({"site": "resid_mid.1"}, "the sum of all"),
        ({"site": "resid_pre.1"}, "the sum of all"),
        ({"site": "mlp_out.3"}, "has 3 layers"),
    ],
)
def test_what_is_not_exact_is_refused_with_what_is(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    model = endoscope.open(save_tiny(tmp_path / "model"))
    fine = {"site": "mlp_out.1", "basis": vectors(1)}
    changes_of(model, [Ablate(**fine)])
    with pytest.raises(InputError, match=rf"Intervention 2 \(ablate at .*\).*{reason}"):
        changes_of(model, [Ablate(**fine), Ablate(**(fine | change))])


def test_thresholds_and_gates_are_refused(tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "model"))
    feature = ClampFeature(
        site="mlp_out.1", encoder=vectors(1)[0], decoder=vectors(1, 1)[0], value=1.0
    )
    with pytest.raises(InputError, match="above a threshold"):
        changes_of(model, [feature])
    with pytest.raises(InputError, match="waits for a gate"):
        changes_of(model, [Ablate(site="mlp_out.1", basis=vectors(1), gate=gate_on("mlp_out.1"))])


def adapted(model: Model, folder: Path) -> Path:
    """Put a random adapter of plain LoRA on a model, and write it."""
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    module = peft.get_peft_model(endoscope.open(model.name).loaded.module, config)
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn_like(parameter) * 0.1
    module.peft_config["default"].base_model_name_or_path = model.name
    module.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("form", [write_adapter, write_weights])
def test_an_edit_of_an_adapter_is_one_on_the_base(tmp_path: Path, form: Any) -> None:
    base = endoscope.open(save_tiny(tmp_path / "base"))
    tuned = endoscope.open(adapted(base, tmp_path / "tuned"))
    live = [*linear("attn_out.1"), *linear("resid_pre.0")]
    edited = written(tuned, live, form, tmp_path / "edited")
    same(tuned, edited, live)
    assert edited.loaded.base == (base.name if form is write_adapter else str(tmp_path / "edited"))


def test_tied_embeddings_are_untied(tmp_path: Path) -> None:
    tiny_module("llama", tie_word_embeddings=True).save_pretrained(tmp_path / "model")
    save_tiny(tmp_path / "other")
    for file in (tmp_path / "other").glob("tokenizer*"):
        (tmp_path / "model" / file.name).write_bytes(file.read_bytes())
    model = endoscope.open(tmp_path / "model")
    head = model.loaded.module.get_output_embeddings().weight
    assert head is model.loaded.module.get_input_embeddings().weight
    before = head.clone()
    live = linear("resid_pre.0")
    for form in (write_weights, write_adapter):
        edited = written(model, live, form, tmp_path / form.__name__)
        same(model, edited, live)
        assert torch.equal(edited.loaded.module.get_output_embeddings().weight, before)
    assert torch.equal(head, before)  # the model itself stays as it is
