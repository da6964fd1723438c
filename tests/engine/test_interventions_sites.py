"""What is written at a site is what everything downstream of it sees, on every architecture."""

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from tests.tiny import CONFIGS, tiny_module
from torch import Tensor, nn

from endoscope.engine.hooks import PackedRows, visiting
from endoscope.engine.transformers import TransformersEngine
from endoscope.interventions import Intervention, Operator, add, compile_interventions, rotate
from endoscope.models import KINDS, Anatomy, LoadedModel, Site

EVERY = sorted(CONFIGS)
CAUSAL = [name for name in EVERY if name != "bert"]
# Encoders with absolute positions are padded on the right alone.
SIDES = [(n, s) for n in EVERY for s in ("right", "left") if (n, s) != ("bert", "left")]
NOWHERE = {("gpt_neox", "resid_mid")}
D, LAYERS, LENGTHS = 32, 3, (21, 9, 20)
DELTA = torch.randn(D, generator=torch.Generator().manual_seed(5))


def engine(module: Any) -> TransformersEngine:
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


def batch(side: str = "right") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 250, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = (torch.arange(ids.shape[1]) < torch.tensor(LENGTHS)[:, None]).long()
    if side == "left":
        ids = torch.stack([row.roll(len(row) - n) for row, n in zip(ids, LENGTHS, strict=True)])
        mask = mask.flip(1)
    return ids * mask, mask


def push(site: str | Site, **more: Any) -> Intervention:
    return add(DELTA, 4.0, units="absolute", site=site, **more)


pytestmark = pytest.mark.usefixtures("one_thread")
MOVED = 4 * DELTA / DELTA.norm()


def operator_for(*programs: list[Intervention]) -> Operator:
    """Row r of a batch has the r-th program."""
    operator = Operator()
    for slot, (program, length) in enumerate(zip(programs, LENGTHS, strict=True), start=1):
        operator.admit(slot, compile_interventions(program, D, lambda _: 10.0), length)
    return operator


def everywhere(*interventions: Intervention) -> Operator:
    return operator_for(*[list(interventions)] * len(LENGTHS))


def read(module: Any, sites: list[Site], operator: Operator | None, side: str) -> dict[Site, Any]:
    """The values of real tokens, text after text, whatever the padding."""
    ids, mask = batch(side)
    values = engine(module).forward(ids, mask, sites, operator)
    return {site: value[mask.bool()] for site, value in values.items()}


def kinds_of(name: str) -> tuple[Any, ...]:
    return Anatomy(tiny_module(name)).kinds


def mlp_by_hand(name: str, block: Any, mid: Tensor) -> Tensor:
    """What the MLP adds to the stream `mid`, from the block's own modules."""
    match name:
        case "gemma2" | "gemma3":
            return block.post_feedforward_layernorm(block.mlp(block.pre_feedforward_layernorm(mid)))
        case "olmo2":
            return block.post_feedforward_layernorm(block.mlp(mid))
        case "gpt2":
            return block.mlp(block.ln_2(mid))
        case "bert":
            return block.output.dense(block.intermediate(mid))
        case _:  # experts take a batch
            return block.mlp(block.post_attention_layernorm(mid)[None])[0]


def downstream_by_hand(name: str, block: Any, at: dict[str, Tensor], kind: str) -> Tensor:
    """`resid_post` when a site of the block is moved, from values of the model as it is."""
    pre, attn_out, mlp_out = at["resid_pre"], at["attn_out"], at["mlp_out"]
    if kind == "resid_post":
        return at["resid_post"] + MOVED
    if name == "gpt_neox":  # in parallel: each writes to the stream, and does not see the other
        return pre + attn_out + mlp_out + MOVED
    mid = at["resid_mid"]
    if kind == "attn_out":
        mid = pre + attn_out + MOVED
        mid = block.attention.output.LayerNorm(mid) if name == "bert" else mid
    elif kind == "resid_mid":
        mid = mid + MOVED
    mlp_out = mlp_by_hand(name, block, mid) + (MOVED if kind == "mlp_out" else 0)
    return block.output.LayerNorm(mid + mlp_out) if name == "bert" else mid + mlp_out


@pytest.mark.parametrize(
    ("name", "side", "kind"),
    [(n, s, kind) for n, s in SIDES for kind in KINDS[1:] if (n, kind) not in NOWHERE],
)
def test_a_write_is_what_the_rest_of_the_block_sees(name: str, side: str, kind: Any) -> None:
    module = tiny_module(name)
    sites = {kind: Site(1, kind) for kind in kinds_of(name)}
    plain = read(module, list(sites.values()), None, side)
    changed = read(module, list(sites.values()), everywhere(push(sites[kind])), side)
    at = {kind: plain[site] for kind, site in sites.items()}
    block: nn.Module = Anatomy(module).blocks[1]  # type: ignore[index]
    expected = downstream_by_hand(name, block, at, kind)
    torch.testing.assert_close(changed[sites["resid_post"]], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(changed[sites[kind]], plain[sites[kind]] + MOVED)
    assert (expected - at["resid_post"]).abs().max() > 0.1


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_resid_pre_is_the_resid_post_before_it(name: str, side: str) -> None:
    module = tiny_module(name)
    sites = [Site(layer, kind) for layer in (1, 2) for kind in kinds_of(name)]
    one = read(module, sites, everywhere(push("resid_pre.1")), side)
    other = read(module, sites, everywhere(push("resid_post.0")), side)
    plain = read(module, sites, None, side)
    for site in sites:
        assert torch.equal(one[site], other[site]), site
        assert not torch.equal(one[site], plain[site]), site


@pytest.mark.parametrize("name", EVERY)
def test_resid_pre_of_the_first_block_is_its_input(name: str) -> None:
    """Against the block called by hand on its moved input, in a batch without padding."""
    module, layer = tiny_module(name), 0
    ids = batch()[0][:1]
    calls: list[tuple[Any, Any]] = []
    block: nn.Module = Anatomy(module).blocks[layer]  # type: ignore[index]
    handle = block.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    read_site = Site(layer, "resid_post")
    runner, mask = engine(module), torch.ones_like(ids)
    runner.forward(ids, mask, [read_site])
    handle.remove()
    args, kwargs = calls[0]
    by_hand = block(args[0] + MOVED, *args[1:], **kwargs)
    operator = Operator()
    program = compile_interventions([push("resid_pre.0")], D, lambda _: 1.0)
    operator.admit(1, program, ids.shape[1])
    changed = runner.forward(ids, mask, [read_site], operator)[read_site]
    expected = by_hand[0] if isinstance(by_hand, tuple) else by_hand
    torch.testing.assert_close(changed, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_last_resid_post_is_what_the_final_norm_sees(name: str) -> None:
    module = tiny_module(name)
    ids, mask = batch()
    anatomy = Anatomy(module)
    norm = next(
        m for n, m in anatomy.base.named_children() if n in ("norm", "ln_f", "final_layer_norm")
    )
    site = Site(LAYERS - 1, "resid_post")
    plain = read(module, [site], None, "right")[site]
    logits = run_hooked(module, ids, mask, everywhere(push(site))).logits[mask.bool()]
    torch.testing.assert_close(logits, anatomy.logits(norm(plain + MOVED)), rtol=1e-4, atol=1e-4)


def run_hooked(module: Any, ids: Tensor, mask: Tensor, operator: Operator, **more: Any) -> Any:
    """Run the whole Hugging Face model under hooks, for what it itself has to say."""
    rows = PackedRows.of(mask, torch.arange(1, len(mask) + 1))

    def visit(site: Site, value: Tensor) -> Tensor:
        packed = rows.pack(value)
        return rows.put(value, operator(site, packed, rows.slots, rows.positions))

    with ExitStack() as hooks:
        for site in operator.sites:
            hooks.enter_context(visiting(Anatomy(module), site, visit))
        return module(input_ids=ids, attention_mask=mask, **more)


@pytest.mark.parametrize("name", CAUSAL)
def test_hidden_states_of_hugging_face_are_moved(name: str) -> None:
    module = tiny_module(name)
    ids, mask = batch()
    plain = module(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    real = mask.bool()
    for site in ("mlp_out.0", "resid_post.0"):
        moved = run_hooked(
            module, ids, mask, everywhere(push(site)), output_hidden_states=True
        ).hidden_states
        assert torch.equal(moved[0], plain[0])
        torch.testing.assert_close(moved[1][real], plain[1][real] + MOVED)
        assert not torch.allclose(moved[2][real], plain[2][real], atol=1e-2)
    if name not in ("gpt_neox",):
        pushed = run_hooked(
            module, ids, mask, everywhere(push("resid_mid.1")), output_hidden_states=True
        ).hidden_states
        assert torch.equal(pushed[1], plain[1])
        assert not torch.allclose(pushed[2][real], plain[2][real], atol=1e-2)


@pytest.mark.parametrize("name", CAUSAL)
def test_padding_is_not_touched(name: str) -> None:
    module = tiny_module(name)
    for side in ("right", "left"):
        ids, mask = batch(side)
        padding = ~mask.bool()
        for kind in kinds_of(name):
            site = Site(0, kind)
            plain = engine(module).forward(ids, mask, [site])[site]
            changed = engine(module).forward(ids, mask, [site], everywhere(push(site)))[site]
            assert torch.equal(changed[padding], plain[padding])
            assert (changed[~padding] != plain[~padding]).any(1).all()


PROGRAMS: list[list[Intervention]] = [
    [push("resid_post.0"), push("attn_out.1", positions="prompt", keep_norm=True)],
    [rotate(torch.eye(D)[:2], 90, site="mlp_out.0"), push("resid_pre.2", positions="generated")],
    [push("resid_post.0", positions=(3, 5)), push("resid_post.0")],
]


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_rows_with_interventions_of_their_own_equal_each_alone(name: str, side: str) -> None:
    module = tiny_module(name)
    sites = [Site(2, "resid_post"), Site(1, "attn_out")]
    together = read(module, sites, operator_for(*PROGRAMS), side)
    ids, mask = batch()
    for row, length in enumerate(LENGTHS):
        operator = Operator()
        operator.admit(1, compile_interventions(PROGRAMS[row], D, lambda _: 10.0), length)
        alone = engine(module).forward(
            ids[row : row + 1, :length], mask[row : row + 1, :length], sites, operator
        )
        start = sum(LENGTHS[:row])
        for site in sites:
            torch.testing.assert_close(
                together[site][start : start + length], alone[site][0], rtol=1e-3, atol=1e-4
            )


@pytest.mark.parametrize("name", EVERY)
def test_a_row_is_not_touched_by_what_another_has(name: str) -> None:
    module = tiny_module(name)
    site = Site(2, "resid_post")
    first = read(module, [site], operator_for(PROGRAMS[0], [], PROGRAMS[2]), "right")[site]
    plain = read(module, [site], None, "right")[site]
    middle = slice(LENGTHS[0], LENGTHS[0] + LENGTHS[1])
    if name in ("mixtral", "deepseek_v3"):  # experts take the tokens of all rows together
        torch.testing.assert_close(first[middle], plain[middle], rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(first[middle], plain[middle])
    assert not torch.allclose(first[: LENGTHS[0]], plain[: LENGTHS[0]], atol=1e-2)


@pytest.mark.parametrize("name", CAUSAL)
def test_decoding_with_a_cache_equals_one_pass(name: str) -> None:
    """Hugging Face's own cache, a prompt in two pieces and then token by token."""
    module = tiny_module(name)
    ids, prompt = batch()[0][:1], 6
    kinds = kinds_of(name)
    program = [push(Site(1, kind)) for kind in kinds]
    program += [push("resid_post.0", positions="generated"), push("mlp_out.2", positions=(1, 8))]
    operator = Operator()
    operator.admit(1, compile_interventions(program, D, lambda _: 1.0), prompt)
    whole = run_hooked(module, ids, torch.ones_like(ids), operator).logits

    seen = 0
    rows = PackedRows(torch.empty(0), torch.empty(0))

    def visit(site: Site, value: Tensor) -> Tensor:
        return rows.put(value, operator(site, rows.pack(value), rows.slots, rows.positions))

    logits, cache = [], None
    with ExitStack() as hooks:
        for site in operator.sites:  # once, whatever comes
            hooks.enter_context(visiting(Anatomy(module), site, visit))
        for part in torch.split(ids, [4, 2] + [1] * (ids.shape[1] - prompt), dim=1):
            n = part.shape[1]
            rows = PackedRows(torch.ones(n, dtype=torch.long), torch.arange(seen, seen + n))
            output = module(input_ids=part, past_key_values=cache, use_cache=True)
            cache, seen = output.past_key_values, seen + n
            logits.append(output.logits)
    torch.testing.assert_close(torch.cat(logits, 1), whole, rtol=1e-3, atol=1e-4)
    plain = module(input_ids=ids).logits
    assert not torch.allclose(whole, plain, atol=1e-2)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "gpt_neox"])
def test_generate_of_hugging_face_runs_under_hooks(name: str) -> None:
    module = tiny_module(name)
    ids, prompt = batch()[0][:1, :7], 7
    operator = Operator()
    program = [push("resid_post.1", positions="generated"), push("attn_out.0")]
    operator.admit(1, compile_interventions(program, D, lambda _: 1.0), prompt)
    seen = dict.fromkeys(operator.sites, 0)

    def visit(site: Site, value: Tensor) -> Tensor:
        n = value.shape[1]
        positions = torch.arange(seen[site], seen[site] + n)
        seen[site] += n
        changed = operator(site, value[0], torch.ones(n, dtype=torch.long), positions)
        return changed[None]

    with ExitStack() as hooks:
        for site in operator.sites:
            hooks.enter_context(visiting(Anatomy(module), site, visit))
        made = module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False,
            pad_token_id=0, eos_token_id=259,
        )  # fmt: skip
    expected = ids
    for _ in range(8):  # without a cache: the whole text again for each token
        logits = run_hooked(module, expected, torch.ones_like(expected), operator).logits
        expected = torch.cat([expected, logits[:, -1:].argmax(-1)], 1)
    assert made.tolist() == expected.tolist()


def test_hooks_are_gone_afterwards() -> None:
    module = tiny_module("llama")
    ids, mask = batch()
    before = module(input_ids=ids, attention_mask=mask).logits
    read(module, [Site(2, "resid_post")], everywhere(push("resid_mid.1")), "right")
    assert torch.equal(module(input_ids=ids, attention_mask=mask).logits, before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
