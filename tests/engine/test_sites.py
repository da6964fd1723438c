"""Sites hold what they say: measured against Hugging Face's own hidden states and by identities."""

from typing import Any

import pytest
import torch
from tests.tiny import CONFIGS, tiny_module

from endoscope.engine.transformers import TransformersEngine
from endoscope.errors import InputError
from endoscope.models import KINDS, Anatomy, LoadedModel, Site

EVERY = sorted(CONFIGS)
Values = dict[Site, torch.Tensor]


def _engine(module: Any) -> TransformersEngine:
    return TransformersEngine(
        LoadedModel(
            name="tiny",
            module=module,
            tokenizer=None,  # type: ignore[arg-type]
            anatomy=Anatomy(module),
            device=torch.device("cpu"),
            dtype=torch.float32,
            folder=None,  # type: ignore[arg-type]
        )
    )


def _padded_batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 250, (3, 21), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    mask[2, 20:] = 0
    return ids * mask, mask


def _read(name: str, *texts: str) -> tuple[Any, Values, torch.Tensor]:
    module = tiny_module(name)
    ids, mask = _padded_batch()
    sites = [Site.parse(text) for text in texts]
    return module, _engine(module).forward(ids, mask, sites), mask


@pytest.mark.parametrize("name", EVERY)
def test_resid_equals_hidden_states_bit_for_bit(name: str) -> None:
    module, values, mask = _read(
        name, "resid_pre.0", "resid_pre.1", "resid_post.0", "resid_pre.2", "resid_post.1"
    )
    ids, _ = _padded_batch()
    hidden = module(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    for text, index in [
        ("resid_pre.0", 0),
        ("resid_pre.1", 1),
        ("resid_post.0", 1),
        ("resid_pre.2", 2),
        ("resid_post.1", 2),
    ]:
        assert torch.equal(values[Site.parse(text)], hidden[index]), text


@pytest.mark.parametrize("name", [n for n in EVERY if n != "bert"])
def test_last_resid_post_is_the_last_hidden_state_before_the_final_norm(name: str) -> None:
    module, values, mask = _read(name, "resid_post.2")
    ids, _ = _padded_batch()
    anatomy = Anatomy(module)
    norm = next(
        m for n, m in anatomy.base.named_children() if n in ("norm", "ln_f", "final_layer_norm")
    )
    last = module(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[-1]
    assert torch.equal(norm(values[Site.parse("resid_post.2")]), last)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("layer", [0, 2])
def test_writers_sum_to_the_stream(name: str, layer: int) -> None:
    kinds = Anatomy(tiny_module(name)).kinds
    module, values, _ = _read(name, *(f"{kind}.{layer}" for kind in kinds))
    at = {kind: values[Site.parse(f"{kind}.{layer}")] for kind in kinds}
    anatomy = Anatomy(module)
    block: Any = anatomy.blocks[layer]  # type: ignore[index]
    match anatomy.stream:
        case "parallel":
            total = at["resid_pre"] + at["attn_out"] + at["mlp_out"]
            torch.testing.assert_close(total, at["resid_post"])
        case "post_norm_encoder":
            mid = block.attention.output.LayerNorm(at["resid_pre"] + at["attn_out"])
            torch.testing.assert_close(mid, at["resid_mid"])
            post = block.output.LayerNorm(at["resid_mid"] + at["mlp_out"])
            torch.testing.assert_close(post, at["resid_post"])
        case _:
            torch.testing.assert_close(at["resid_pre"] + at["attn_out"], at["resid_mid"])
            torch.testing.assert_close(at["resid_mid"] + at["mlp_out"], at["resid_post"])
    # The sums would hold for zeros as well: the writers must write.
    assert at["attn_out"].abs().mean() > 1e-3
    assert at["mlp_out"].abs().mean() > 1e-3


def test_parallel_attention_refuses_resid_mid_and_names_what_there_is() -> None:
    with pytest.raises(InputError, match=r"parallel.*resid_post = resid_pre"):
        Anatomy(tiny_module("gpt_neox")).check(Site.parse("resid_mid.1"))
    Anatomy(tiny_module("gpt_neox_serial")).check(Site.parse("resid_mid.1"))


@pytest.mark.parametrize("name", EVERY)
def test_a_wrong_layer_is_refused_with_the_range(name: str) -> None:
    with pytest.raises(InputError, match="0 to 2"):
        _read(name, "resid_post.3")


def test_an_unknown_architecture_is_refused_with_those_known() -> None:
    import transformers

    config = transformers.GPTJConfig(n_embd=16, n_layer=1, n_head=2, vocab_size=10, rotary_dim=4)
    with pytest.raises(InputError, match=r"gptj.*llama"):
        Anatomy(transformers.AutoModelForCausalLM.from_config(config))


def test_nothing_runs_after_the_last_site() -> None:
    module = tiny_module("llama")
    ran: list[int] = []
    for number, block in enumerate(Anatomy(module).blocks):  # type: ignore[arg-type]
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
    _engine(module).forward(*_padded_batch(), [Site.parse("mlp_out.1")])
    assert ran == [0]


def test_hooks_are_gone_afterwards() -> None:
    module = tiny_module("llama")
    ids, mask = _padded_batch()
    before = module(input_ids=ids, attention_mask=mask).logits
    _engine(module).forward(ids, mask, [Site.parse("resid_mid.1")])
    assert torch.equal(module(input_ids=ids, attention_mask=mask).logits, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_every_architecture_of_the_table_is_tested() -> None:
    from endoscope.models import ARCHITECTURES

    assert {tiny_module(name).config.model_type for name in EVERY} == set(ARCHITECTURES)
    assert set(KINDS) == set(Anatomy(tiny_module("llama")).kinds)
