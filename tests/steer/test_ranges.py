"""What is of use, and what is on the front: on made-up figures."""

from hypothesis import given
from hypothesis import strategies as st

from endoscope.steer import Limits, Place, Point
from endoscope.steer.ranges import best, front, usable
from tests.steer.made_up import PLAIN, SITES, made_up, point, steered

shares = st.integers(0, 20).map(lambda n: n / 20)
multiples = st.integers(4, 40).map(lambda n: n / 10)
clouds = st.lists(st.tuples(shares, multiples, multiples, st.sampled_from(SITES)), min_size=1)


def cloud(rows: list[tuple[float, float, float, str]]) -> list[Point]:
    return [
        steered((i + 1) / 10, score, site, perplexity=perplexity, repeats=repeats)
        for i, (score, perplexity, repeats, site) in enumerate(rows)
    ]


def beats(left: Point, right: Point) -> bool:
    """No worse in both, and better in one."""
    no_worse = left.score.value >= right.score.value and left.perplexity <= right.perplexity
    return no_worse and (left.score.value, left.perplexity) != (
        right.score.value,
        right.perplexity,
    )


@given(clouds)
def test_the_front_is_what_nothing_beats(rows: list[tuple[float, float, float, str]]) -> None:
    points = cloud(rows)
    found = front(points)
    assert not any(beats(one, kept) for one in points for kept in found)
    figures = {(one.score.value, one.perplexity) for one in found}
    for one in points:
        on_it = (one.score.value, one.perplexity) in figures
        assert on_it or any(beats(kept, one) for kept in found)
    assert [one.perplexity for one in found] == sorted(one.perplexity for one in found)


@given(clouds)
def test_of_use_is_what_rose_and_still_is_text(rows: list[tuple[float, float, float, str]]) -> None:
    points, limits = cloud(rows), Limits(rise=0.3)
    found = usable(points, limits)
    assert set(found) == {site for _, _, _, site in rows}
    for one, (score, perplexity, repeats, site) in zip(points, rows, strict=True):
        good = score - 0.05 >= 0.3 and perplexity <= 2 and repeats <= 1.5
        assert (one.place.strength in found[site]) == good
    assert all(list(some) == sorted(some) for some in found.values())


@given(clouds)
def test_the_best_is_of_use_if_anything_is(rows: list[tuple[float, float, float, str]]) -> None:
    points, limits = cloud(rows), Limits()
    chosen = best(points, limits)
    useful = [one for one in points if limits.usable(one)]
    coherent = [one for one in points if limits.coherent(one)]
    if useful:
        assert chosen in useful
        assert chosen.rise.value == max(one.rise.value for one in useful)
    elif coherent:
        assert chosen in coherent
        assert chosen.rise.value == max(one.rise.value for one in coherent)
    else:
        assert chosen.perplexity == min(one.perplexity for one in points)


def test_an_interval_that_touches_zero_is_no_rise() -> None:
    shaky = steered(0.2, 0.5, spread=0.5)
    assert shaky.rise.low < 0
    assert usable([shaky], Limits()) == {SITES[0]: ()}


def test_controls_are_never_of_use() -> None:
    good = point(Place(split="choosing", kind="prompt"), 0.9)
    place = Place(split="choosing", kind="random", site=SITES[0], strength=0.2)
    assert usable([good, point(place, 0.9), point(PLAIN, 0.05)], Limits()) == {}


def test_the_record_reads_well() -> None:
    said = repr(made_up())
    assert "usable at resid_post.12: 0.1, 0.2" in said
    assert "chosen: resid_post.12 x 0.2" in said
    assert "prompt only" in said
    assert made_up().confirmed
    assert made_up().random_rises == tuple(
        one.rise.value for one in made_up().held_out if one.place.kind == "random"
    )
