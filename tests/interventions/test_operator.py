"""Many requests at once: each row is changed as its own request says, and by nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from endoscope.interventions import (
    Ablate,
    Add,
    Clamp,
    ClampFeature,
    Compiled,
    Erase,
    Intervention,
    Operator,
    Rotate,
    Scale,
    ablate,
    add,
    clamp_feature,
    compile_interventions,
    scale,
)
from endoscope.models import Site

D = 6
SITE, OTHER = Site.parse("resid_post.3"), Site.parse("attn_out.1")
NORM = 3.0

pytestmark = pytest.mark.usefixtures("one_thread")


def compiled(*interventions: Intervention) -> Compiled:
    return compile_interventions(interventions, D, lambda _: NORM)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_definition(one: Intervention, h: Tensor) -> Tensor:
    """What an operation does to one vector, written down as the textbooks do."""
    match one:
        case Add():
            v = torch.tensor(one.vector, dtype=torch.float64)
            scale_by = NORM if one.units == "norm" else 1
            return h + one.strength * scale_by * v / v.norm()
        case Ablate():
            return h - projector(one.basis) @ h
        case Clamp():
            v = torch.tensor(one.vector, dtype=torch.float64)
            v = v / v.norm()
            return h - (h @ v) * v + one.value * (NORM if one.units == "norm" else 1) * v
        case Scale():
            return h + (one.factor - 1) * (projector(one.basis) @ h)
        case Rotate():
            a, b = torch.tensor(one.plane, dtype=torch.float64)
            a = a / a.norm()
            b = b - (b @ a) * a
            b = b / b.norm()
            x, y = h @ a, h @ b
            angle = torch.tensor(one.degrees, dtype=torch.float64).deg2rad()
            z = torch.polar(torch.ones_like(angle), angle)
            turned = torch.complex(x, y) * z
            return h - x * a - y * b + turned.real * a + turned.imag * b
        case Erase():
            left, right, mean = (
                torch.tensor(t, dtype=torch.float64) for t in (one.left, one.right, one.mean)
            )
            return h - sum(a * (b @ (h - mean)) for a, b in zip(left, right, strict=True))
        case ClampFeature():
            encoder, decoder = (
                torch.tensor(t, dtype=torch.float64) for t in (one.encoder, one.decoder)
            )
            feature = encoder @ h + one.encoder_bias
            feature = feature if feature > one.threshold else torch.zeros(())
            return h + (one.value - feature) * decoder
    raise AssertionError


def projector(basis: tuple[tuple[float, ...], ...]) -> Tensor:
    b = torch.tensor(basis, dtype=torch.float64)
    return torch.linalg.pinv(b) @ b


def alone(program: Compiled, site: Site, h: Tensor, prompt: int, position: int) -> Tensor:
    """One row of one request, by definition."""
    h = h.double()
    for one in program.interventions:
        match one.positions:
            case "all":
                acts = True
            case "prompt":
                acts = position < prompt - 1
            case "generated":
                acts = position >= prompt - 1
            case listed:
                acts = position in listed
        if one.site == site and acts:
            new = by_definition(one, h)
            h = new * (h.norm() / new.norm()) if one.keep_norm else new
    return h


numbers = st.floats(-4, 4, width=32).map(lambda x: round(x, 3))
vectors = st.lists(numbers, min_size=D, max_size=D).filter(lambda v: sum(map(abs, v)) > 0.5)
# Well apart: each has its own large coordinate.
bases = st.integers(1, 3).flatmap(
    lambda k: st.tuples(
        *(vectors.map(lambda v, i=i: [*v[:i], 20.0, *v[i + 1 :]]) for i in range(k))
    )
)
planes = st.tuples(
    vectors.map(lambda v: [20.0, *v[1:]]), vectors.map(lambda v: [v[0], 20.0, *v[2:]])
)
common = {
    "site": st.sampled_from([SITE, SITE, OTHER]),
    "positions": st.one_of(
        st.sampled_from(["all", "prompt", "generated"]),
        st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple),
    ),
    "keep_norm": st.booleans(),
}
units = st.sampled_from(["norm", "absolute"])
operations = st.one_of(
    st.builds(Add, vector=vectors, strength=numbers, units=units, **common),
    st.builds(Ablate, basis=bases, **common),
    st.builds(Clamp, vector=vectors, value=numbers, units=units, **common),
    st.builds(Scale, basis=bases, factor=numbers, **common),
    st.builds(Rotate, plane=planes, degrees=st.floats(-360, 360, width=16), **common),
    st.builds(
        lambda left, right, **more: Erase(
            left=left[: len(right)], right=right[: len(left)], **more
        ),
        left=st.lists(vectors.map(lambda v: [x / 8 for x in v]), min_size=1, max_size=3),
        right=st.lists(vectors.map(lambda v: [x / 8 for x in v]), min_size=1, max_size=3),
        mean=st.lists(numbers, min_size=D, max_size=D),
        **common,
    ),
    st.builds(
        ClampFeature,
        encoder=vectors,
        decoder=vectors,
        value=numbers,
        encoder_bias=numbers,
        threshold=st.floats(0, 3, width=16),
        activation=st.just("jumprelu"),
        **common,
    ),
)


@settings(max_examples=120)
@given(st.data())
def test_random_requests_in_one_batch_equal_each_alone(data: st.DataObject) -> None:
    programs = data.draw(st.lists(st.lists(operations, max_size=3), min_size=1, max_size=4))
    shared = [compiled(*program) for program in programs]
    slots = data.draw(
        st.lists(st.integers(1, 12), min_size=1, max_size=6, unique=True), label="slots"
    )
    requests = {
        slot: (data.draw(st.sampled_from(shared)), data.draw(st.integers(1, 9))) for slot in slots
    }
    operator = Operator()
    for slot, (program, prompt) in requests.items():
        operator.admit(slot, program, prompt)
    tokens = data.draw(
        st.lists(st.tuples(st.sampled_from([0, 13, 99, *slots]), st.integers(0, 12)), max_size=12)
    )
    h = randn(len(tokens), D, seed=data.draw(st.integers(0, 99)))
    slot_of = torch.tensor([slot for slot, _ in tokens], dtype=torch.long)
    position_of = torch.tensor([position for _, position in tokens], dtype=torch.long)
    for site in (OTHER, SITE):
        changed = operator(site, h, slot_of, position_of)
        for row, (slot, position) in enumerate(tokens):
            if slot in requests:
                program, prompt = requests[slot]
                expected = alone(program, site, h[row], prompt, position)
                torch.testing.assert_close(changed[row].double(), expected, rtol=2e-4, atol=2e-4)
            else:
                assert torch.equal(changed[row], h[row])


def same_bits(one: Tensor, other: Tensor) -> bool:
    as_bits = torch.int16 if one.element_size() == 2 else torch.int32
    return torch.equal(one.view(as_bits), other.view(as_bits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_of_others_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    operator = Operator(dtype=dtype)
    operator.admit(2, compiled(add(randn(D), 2, site=SITE), ablate(randn(D), site=SITE)), 4)
    operator.admit(3, compiled(add(randn(D), 2, site=OTHER)), 4)
    operator.admit(4, compiled(add(randn(D), 2, site=SITE, positions=(7,), keep_norm=True)), 4)
    h = randn(6, D).to(dtype)
    h[0, 0] = -0.0
    h[1] = float("nan")
    h[2, 3] = float("inf")
    h[3] = -0.0
    slots = torch.tensor([0, 0, 3, 4, 5, 2])  # only the last has something to do
    changed = operator(SITE, h, slots, torch.arange(6))
    assert changed.dtype == dtype
    assert same_bits(changed[:5], h[:5])
    assert (changed[5] != h[5]).any()


def test_what_one_request_overflows_does_not_reach_another() -> None:
    huge = clamp_feature(torch.full((D,), 1e6), torch.full((D,), 1e-6), 1, site=SITE)
    operator = Operator()
    operator.admit(1, compiled(huge), 4)
    operator.admit(2, compiled(add(randn(D), 1, site=SITE)), 4)
    h = torch.stack([torch.full((D,), 1e38), torch.full((D,), 1e34)])
    changed = operator(SITE, h, torch.tensor([1, 2]), torch.tensor([0, 0]))
    assert not torch.isfinite(changed[0]).all()
    torch.testing.assert_close(changed[1], h[1])


def test_bfloat16_is_computed_in_float32_and_rounded_once() -> None:
    program = compiled(*(add(randn(D, seed=i), 1 / 3, site=SITE) for i in range(8)))
    h = (100 * randn(5, D)).bfloat16()
    arguments = (torch.ones(5, dtype=torch.long), torch.arange(5))
    wide, narrow = Operator(), Operator(dtype=torch.bfloat16)
    wide.admit(1, program, 5)
    narrow.admit(1, program, 5)
    exact = wide(SITE, h.float(), *arguments)
    assert torch.equal(narrow(SITE, h, *arguments), exact.bfloat16())


def test_order_is_the_listed_one_and_each_sees_what_the_one_before_left() -> None:
    v = torch.tensor([1.0, 0, 0, 0, 0, 0])
    w = torch.tensor([1.0, 1, 0, 0, 0, 0])
    h = torch.tensor([[2.0, 0, 5, 0, 0, 0]])

    def run(*interventions: Intervention) -> Tensor:
        operator = Operator()
        operator.admit(1, compiled(*interventions), 1)
        return operator(SITE, h, torch.tensor([1]), torch.tensor([0]))

    add_v, double_v = add(v, 1, units="absolute", site=SITE), scale(v, 2, site=SITE)
    assert run(add_v, double_v)[0, 0] == 6
    assert run(double_v, add_v)[0, 0] == 5
    # Ablating v leaves (0, 0, 5); ablating w first leaves (1, -1, 5), whose first part then goes.
    first_v = run(ablate(v, site=SITE), ablate(w, site=SITE))
    first_w = run(ablate(w, site=SITE), ablate(v, site=SITE))
    torch.testing.assert_close(first_v, torch.tensor([[0.0, 0, 5, 0, 0, 0]]))
    torch.testing.assert_close(first_w, torch.tensor([[0.0, -1, 5, 0, 0, 0]]))


@pytest.mark.parametrize(
    ("positions", "changed"),
    [
        ("all", [0, 1, 2, 3, 4, 5]),
        ("prompt", [0, 1, 2]),  # the prompt has four tokens, and the first is sampled at its last
        ("generated", [3, 4, 5]),
        ((1, 4, 9), [1, 4]),
    ],
)
def test_positions_are_absolute_however_the_text_is_cut(positions: Any, changed: list[int]) -> None:
    operator = Operator()
    operator.admit(1, compiled(add(randn(D), 1, site=SITE, positions=positions)), 4)
    h = randn(6, D)
    for cuts in ([6], [4, 1, 1], [2, 3, 1], [1] * 6):
        found: list[int] = []
        for part in torch.split(torch.arange(6), cuts):
            new = operator(SITE, h[part], torch.ones(len(part), dtype=torch.long), part)
            found += part[(new != h[part]).any(1)].tolist()
        assert found == changed


def test_slots_come_and_go() -> None:
    h = randn(2, D)
    at = (torch.tensor([1, 2]), torch.tensor([0, 0]))
    one, two = compiled(add(randn(D), 1, site=SITE)), compiled(ablate(randn(D), site=SITE))
    operator = Operator()
    assert operator.sites == frozenset()
    assert operator(SITE, h, *at) is h
    operator.admit(1, one, 1)
    first = operator(SITE, h, *at)
    assert torch.equal(first[1], h[1])
    operator.admit(2, two, 1)
    assert operator.sites == {SITE}
    both = operator(SITE, h, *at)
    torch.testing.assert_close(both[0], first[0])
    operator.release(1)
    torch.testing.assert_close(operator(SITE, h, *at), torch.stack([h[0], both[1]]))
    operator.admit(1, two, 1)  # a slot is given to somebody else
    torch.testing.assert_close(operator(SITE, h, *at)[1], both[1])
    with pytest.raises(ValueError, match="not free"):
        operator.admit(2, one, 1)
    with pytest.raises(ValueError, match="not free"):
        operator.admit(0, one, 1)
    operator.release(1)
    operator.release(2)
    assert operator.sites == frozenset()
    assert operator(SITE, h, *at) is h


def test_requests_of_one_compiled_share_rows_and_a_pass_costs_the_same_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a pass does is counted in tensor operations: no loop over requests."""
    program = compiled(add(randn(D), 1, site=SITE), ablate(randn(2, D), site=SITE))
    widths: list[int] = []
    real = torch.addmm

    def counting(bias: Tensor, a: Tensor, b: Tensor) -> Tensor:
        widths.append(b.shape[1])
        return real(bias, a, b)

    def width(programs: Callable[[int], Compiled]) -> list[int]:
        operator = Operator()
        for slot in range(1, 17):
            operator.admit(slot, programs(slot), 3)
        widths.clear()
        operator(SITE, randn(16, D), torch.arange(1, 17), torch.full((16,), 5))
        return list(widths)

    monkeypatch.setattr(torch, "addmm", counting)
    assert width(lambda _: program) == [1, D, 2, D]
    assert width(lambda s: compiled(add(randn(D, seed=s), 1, site=SITE))) == [16, D]
