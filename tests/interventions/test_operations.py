"""Each operation against hand-computed values and the identities that define it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import endoscope
from endoscope.errors import InputError
from endoscope.interventions import (
    Add,
    Intervention,
    Operator,
    ablate,
    add,
    clamp,
    clamp_feature,
    compile_interventions,
    erase,
    rotate,
    scale,
)
from endoscope.models import Site

SITE = Site.parse("resid_post.3")
H = torch.tensor([[3.0, 4.0, 0.0, 1.0], [0.0, -1.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
V = torch.tensor([0.0, 3.0, 4.0, 0.0])  # of length 5
U = V.double() / 5


def run(*interventions: Intervention, h: Tensor = H, norm: float = 10.0) -> Tensor:
    operator = Operator(dtype=h.dtype)
    operator.admit(1, compile_interventions(interventions, h.shape[1], lambda _: norm), len(h))
    return operator(SITE, h, torch.ones(len(h), dtype=torch.long), torch.arange(len(h)))


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values)


def test_add_goes_along_the_unit_vector_by_typical_norms() -> None:
    expected = H + rows([0.0, 12.0, 16.0, 0.0])  # 2 typical norms of 10, along (0, .6, .8, 0)
    torch.testing.assert_close(run(add(V, 2, site=SITE)), expected)
    torch.testing.assert_close(run(add(V, 20, units="absolute", site=SITE)), expected)
    torch.testing.assert_close(run(add(7 * V, 2, site=SITE)), expected)


def test_ablate_removes_one_direction() -> None:
    expected = rows([3.0, 2.56, -1.92, 1.0], [0.0, -1.6, 1.2, 5.0], [1.0, 0.16, -0.12, 1.0])
    torch.testing.assert_close(run(ablate(V, site=SITE)), expected)


def test_ablate_removes_the_span_of_vectors_that_are_not_orthogonal() -> None:
    basis = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])  # spans the first two axes
    changed = run(ablate(basis, site=SITE))
    torch.testing.assert_close(changed, H * rows([0.0, 0.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(run(ablate(basis, site=SITE), h=changed), changed)


def test_clamp_sets_the_coordinate_and_nothing_else() -> None:
    for one in (clamp(V, 0.5, site=SITE), clamp(V, 5, units="absolute", site=SITE)):
        changed = run(one).double()
        torch.testing.assert_close(changed @ U, torch.full((3,), 5.0, dtype=torch.float64))
        off = torch.eye(4, dtype=torch.float64) - torch.outer(U, U)
        torch.testing.assert_close(changed @ off, H.double() @ off)


def test_scale_multiplies_the_component() -> None:
    axes = torch.eye(4)[:2] + torch.eye(4)[1] * rows([1.0], [0.0])  # e0 + e1 and e1
    torch.testing.assert_close(
        run(scale(axes, 3, site=SITE)), H * rows([3.0, 3.0, 1.0, 1.0]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(run(scale(V, 1, site=SITE)), H)
    torch.testing.assert_close(run(scale(V, 0, site=SITE)), run(ablate(V, site=SITE)))


def test_rotate_turns_the_first_vector_towards_the_second() -> None:
    plane = rows([2.0, 0.0, 0.0, 0.0], [5.0, 0.0, 3.0, 0.0])  # e0 and e2, orthonormalised
    h = rows([1.0, 7.0, 0.0, 0.0], [0.0, 7.0, 1.0, 0.0])
    quarter = run(rotate(plane, 90, site=SITE), h=h)
    torch.testing.assert_close(quarter, rows([0.0, 7.0, 1.0, 0.0], [-1.0, 7.0, 0.0, 0.0]))
    third = run(rotate(plane, 30, site=SITE), h=h)
    c, s = math.sqrt(3) / 2, 0.5
    torch.testing.assert_close(third, rows([c, 7.0, s, 0.0], [-s, 7.0, c, 0.0]))
    back = run(rotate(plane, 30, site=SITE), rotate(plane, -30, site=SITE))
    torch.testing.assert_close(back, H)
    turned = run(rotate(plane, 77, site=SITE))
    torch.testing.assert_close(turned.norm(dim=1), H.norm(dim=1))


def leace(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The factors of LEACE for one concept, by the formula of Belrose et al. 2023, theorem 4.3."""
    mean = x.mean(0)
    centred, concept = x - mean, z - z.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    whiten = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    unwhiten = vectors @ torch.diag(values.sqrt()) @ vectors.T
    across = whiten @ centred.T @ concept / len(x)
    u = (across / across.norm()).T
    return u @ unwhiten, u @ whiten, mean


def test_erase_leaves_no_covariance_with_the_concept() -> None:
    generator = torch.Generator().manual_seed(0)
    z = (torch.arange(400) % 2).double()[:, None]
    x = torch.randn(400, 4, generator=generator, dtype=torch.float64)
    x = x @ torch.randn(4, 4, generator=generator, dtype=torch.float64) + z * rows([1.0, 2, 0, -1])
    left, right, mean = leace(x, z)
    erased = run(erase(left, right, mean, site=SITE), h=x)
    across = (erased - erased.mean(0)).T @ (z - z.mean()) / len(x)
    assert ((x - x.mean(0)).T @ (z - z.mean()) / len(x)).abs().max() > 0.1
    assert across.abs().max() < 1e-10
    torch.testing.assert_close(erased.mean(0), x.mean(0))
    torch.testing.assert_close(erased, x - (x - mean) @ (left.T @ right).T)


def test_erase_by_hand() -> None:
    left, right = rows([1.0, 1.0, 0.0, 0.0]), rows([1.0, 0.0, 0.0, 0.0])
    mean = torch.tensor([1.0, 9.0, 9.0, 9.0])
    expected = rows([1.0, 2.0, 0.0, 1.0], [1.0, 0.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(run(erase(left, right, mean, site=SITE)), expected)


def test_clamp_feature_is_the_change_of_one_feature_times_its_decoder() -> None:
    encoder, decoder = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0, 2.0])
    # Features before phi: 3 - 1 = 2, -1, 0.
    one = clamp_feature(encoder, decoder, 5, site=SITE, encoder_bias=-1)
    expected = H + rows([0, 0, 0, 6.0], [0, 0, 0, 10.0], [0, 0, 0, 10.0])
    torch.testing.assert_close(run(one), expected)
    # A JumpReLU with a threshold of 2 is off at exactly 2.
    one = clamp_feature(encoder, decoder, 5, site=SITE, encoder_bias=-1, threshold=2)
    torch.testing.assert_close(run(one), H + rows([0, 0, 0, 10.0]))
    one = clamp_feature(encoder, decoder, 5, site=SITE, encoder_bias=-1, threshold=1.9)
    torch.testing.assert_close(run(one), expected)


def test_keep_norm_restores_each_norm() -> None:
    changed = run(add(V, 2, site=SITE, keep_norm=True))
    torch.testing.assert_close(changed.norm(dim=1), H.norm(dim=1))
    free = run(add(V, 2, site=SITE))
    cosine = torch.nn.functional.cosine_similarity(changed, free)
    torch.testing.assert_close(cosine, torch.ones(3))
    nothing_left = run(ablate(H[0], site=SITE, keep_norm=True), h=H[:1])
    assert torch.isfinite(nothing_left).all()


def test_only_additions_are_negated_and_scaled() -> None:
    one = add(V, 2, site=SITE, positions="generated")
    assert (-one).strength == -2
    assert (-one).positions == "generated"
    assert (2 * one).strength == (one * 2).strength == 4
    torch.testing.assert_close(run(one, -one), H)
    with pytest.raises(InputError, match="100"):
        _ = 1000 * one
    for other in (ablate(V, site=SITE), scale(V, 2, site=SITE)):
        with pytest.raises(InputError, match="Only additions"):
            _ = -other
        with pytest.raises(InputError, match="Only additions"):
            _ = 2 * other


class Subspace:
    """What the helpers ask of a direction."""

    site = SITE

    def __init__(self, basis: Tensor, erasure: tuple[Tensor, Tensor, Tensor] | None = None) -> None:
        self.basis = basis
        self.erasure = erasure


def test_a_direction_brings_its_site_and_may_be_put_elsewhere() -> None:
    direction = Subspace(V[None])
    assert endoscope.add(direction, 2) == add(V, 2, site="resid_post.3")
    assert add(direction, 2, site="resid_mid.1").site == Site.parse("resid_mid.1")
    both = Subspace(torch.eye(4)[:2])
    assert ablate(both).basis == ((1, 0, 0, 0), (0, 1, 0, 0))
    factors = (V[None], 2 * V[None], V)
    assert erase(Subspace(V[None], factors)) == erase(*factors, site=SITE)
    with pytest.raises(InputError, match="has no erasure"):
        erase(direction)
    with pytest.raises(InputError, match="three factors"):
        erase(V[None], site=SITE)
    with pytest.raises(InputError, match="one direction, not a subspace of 2"):
        add(both, 1)
    with pytest.raises(InputError, match="a Direction or numbers, not str"):
        add("sea", 1, site=SITE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="does not say where"):
        add(V, 1)


def test_a_repr_says_what_it_is_without_its_numbers() -> None:
    one = add(torch.randn(576), 4, site=SITE, positions=(1, 2))
    expected = "Add(site='resid_post.3', positions=(1, 2), vector=<576 numbers>, strength=4.0)"
    assert repr(one) == expected
    assert repr(ablate(torch.randn(2, 576), site=SITE)) == (
        "Ablate(site='resid_post.3', basis=<2 x 576 numbers>)"
    )


NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: add(V * 0, 1, site=SITE), "zeros has no direction"),
        (lambda: add(V * NAN, 1, site=SITE), "finite"),
        (lambda: add(V, NAN, site=SITE), "finite"),
        (lambda: add(V, float("inf"), site=SITE), "finite"),
        (lambda: add(V, 1e9, site=SITE), r"1e\+09 times .*at most 100 times"),
        (lambda: clamp(V, -101, site=SITE), "at most 100 times"),
        (lambda: scale(V, 101, site=SITE), "less than or equal to 100"),
        (lambda: rotate(V, 30, site=SITE), "1 vectors do not span a plane"),
        (lambda: rotate(torch.stack([V, 2 * V]), 30, site=SITE), "depend on each other"),
        (lambda: ablate(torch.stack([V, -V]), site=SITE), "depend on each other"),
        (lambda: ablate(torch.randn(5, 4), site=SITE), "depend on each other"),
        (lambda: ablate(torch.randn(2, 2, 4), site=SITE), r"\[2, 2, 4\]"),
        (lambda: add(V, 1, site="q.3"), "'q.3' is not a site"),
        (lambda: add(V, 1, site=SITE, positions=(-1,)), "negative"),
        (lambda: add(V, 1, site=SITE, positions=()), "no positions"),
        (lambda: add(V, 1, site=SITE, positions=(True,)), "no whole number"),
        (lambda: add(V, 1, site=SITE, positions="answer"), "no positions"),  # type: ignore
        (lambda: add(V, 1, site=SITE, units="std"), "'norm' or 'absolute'"),  # type: ignore
        (lambda: erase(V[None], V[None, :3], V, site=SITE), r"left is \[1, 4\], right \[1, 3\]"),
        (lambda: erase(V[None] * 1e7, V[None], V, site=SITE), "beyond 1e"),
        (lambda: clamp_feature(V, V[:3], 1, site=SITE), "encoder's row has 4"),
        (lambda: Add(site=SITE, vector=(1.0,), strength=1, extra=2), "extra: Extra inputs"),
        (lambda: Add(site=SITE, vector=(1.0,), strength=True), "strength: Input should be"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make: Any, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "3.0, 4.0" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "match"),
    [
        (add(V, 1, site=SITE), "vectors of 4 numbers; this model has 5"),
        (add(torch.ones(5), 1001, units="absolute", site=SITE), "100 times the typical norm"),
        (clamp(torch.ones(5), 1001, units="absolute", site=SITE), "100 times the typical norm"),
        (clamp_feature(torch.ones(5), torch.ones(5), 900, site=SITE), "decoder's length"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(one: Intervention, match: str) -> None:
    with pytest.raises(InputError, match=rf"Intervention 2 .*{match}"):
        compile_interventions([ablate(torch.ones(5), site=SITE), one], 5, lambda _: 10.0)


def test_lists_and_arrays_are_vectors_too() -> None:
    expected = add(V, 1, site=SITE)
    assert add(V.tolist(), 1, site=SITE) == expected  # type: ignore[arg-type]
    assert add(V.numpy(), 1, site=SITE) == expected  # type: ignore[arg-type]
