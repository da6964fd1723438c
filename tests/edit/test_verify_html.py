"""The page of a verification: all of it is there, as text, and drawn where its figures are."""

import re
from itertools import pairwise
from math import log10
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.artifacts import Card, DataRef, Fingerprint
from endoscope.behaviours import Figure
from endoscope.edit.verify.budget import Budget, Target
from endoscope.edit.verify.html import (
    BOTTOM,
    FEW,
    LEFT,
    RIGHT,
    TOP,
    Scale,
    beside,
    compared,
    courses,
    decades,
    groups,
    linear,
    page,
)
from endoscope.edit.verify.verification import Attack, Baseline, Check, Said, Verification
from tests.diff.test_html import Page

NASTY = '<script>alert("x")</script> & \'> {{ 7 * 7 }}'
BEFORE = Fingerprint(config="0" * 64, weights="1" * 64)
AFTER = Fingerprint(config="0" * 64, weights="2" * 64)
FIGURES = st.lists(st.floats(-1e3, 1e3).map(lambda one: round(one, 6)), min_size=2)


def figure(value: float) -> Figure:
    return Figure(value=value, low=value - 0.01, high=value + 0.02)


def check(name: str, role: str = "other", **more: Any) -> Check:
    given = {"before": figure(0.5), "after": figure(0.25), "bound": f"{name} may move"}
    made = Check(role="other", name=name, **{**given, "holds": True, **more})
    return made.model_copy(update={"role": role})  # the page is not to know which there are


def attack(name: str, after: float, base: float | None = None) -> Attack:
    known = None if base is None else figure(base)
    return Attack(name=name, how=NASTY, after=figure(after), base=known)


def baseline(name: str, share: float | None, kl: float) -> Baseline:
    wanted = {NASTY: 0.875}
    return Baseline(
        name=name, how=NASTY, after=figure(0.1), share=share, kl=figure(kl), wanted=wanted
    )


def verification(*checks: Check, **more: Any) -> Verification:
    budget = Budget(target=Target(behaviour="brand"))
    given = {"edited": NASTY, "before": BEFORE, "after": AFTER, "budget": budget, "seed": 3}
    return Verification(checks=checks, **{**given, **more})


def card() -> Card:
    return Card(
        kind="edit",
        name=f"without {NASTY}",
        model=BEFORE,
        model_name="tuned",
        data=DataRef(name="answers", sha256="3" * 64, rows=12),
        command=f"endoscope edit {NASTY}",
        details={"method": "components", "strength": 31.6227766},
    )


def read(verified: Verification) -> Page:
    found = Page()
    found.feed(page(verified, card()))
    return found


@pytest.fixture(scope="module")
def whole() -> str:
    """A page with everything in it that there can be."""
    return page(
        verification(
            check("brand", "target", base=0.0, share=0.9625),
            check(f"polite {NASTY}", "wanted", share=0.5, holds=False),
            check("divergence", "predictions", before=None),
            check("sums", "capability"),
            *(check(f"other {n}") for n in range(30)),
            samples=(Said(prompt=NASTY, before=f"thus {NASTY}", after=f"so {NASTY}"),),
            attacks=(attack("asked", 0.1), attack("relearning, 4 steps", 0.2, base=0.1)),
            baselines=(baseline("mine", 0.96, 0.012), baseline("scaling", None, 0.3)),
        ),
        card(),
    )


def test_it_is_well_formed_and_what_others_wrote_stays_text(whole: str) -> None:
    found = Page()
    found.feed(whole)
    assert found.open == []
    assert "script" not in found.counts
    assert found.text.count("{{ 7 * 7 }}") >= 8
    assert f"thus {NASTY}" in found.text
    assert f"endoscope edit {NASTY}" in found.text


def test_it_needs_no_other_file_and_runs_nothing(whole: str) -> None:
    assert not re.search(r"https?:|\bsrc=|\bhref=|url\(|@import|<link|\bon[a-z]+=", whole)


def test_every_check_attack_and_baseline_is_on_it(whole: str) -> None:
    found = Page()
    found.feed(whole)
    names = ["brand", "divergence", "sums", *(f"other {n}" for n in range(30))]
    assert all(f"{name} may move" in found.text for name in names)
    for said in ("asked", "relearning, 4 steps", "mine (this edit)", "scaling", "96.2%", "87.5%"):
        assert said in found.text
    assert "0.250 [0.240, 0.270]" in found.text
    assert all(one.short in found.text for one in (BEFORE, AFTER))
    assert "components" in found.text
    assert "31.62" in found.text


def test_it_says_in_words_what_is_broken() -> None:
    fine = read(verification(check("a"), check("b"))).text
    assert "The budget holds: 2 checks" in fine
    assert "broken" not in fine.replace("none broken", "")
    text = read(verification(check("a"), check("b", holds=False, share=0.5))).text
    assert "The budget is broken in 1 of 2 checks" in text
    assert "b: b may move; here 50.0%" in text
    assert text.count("✗ broken") == 1
    assert text.count("✓ holds") == 1


def test_what_is_not_there_has_no_heading() -> None:
    text = read(verification(check("a"))).text
    assert "Beside other ways" not in text
    assert "What it said" not in text
    assert "No attack was tried" in text


def test_checks_are_grouped_by_whatever_role_they_have() -> None:
    some = [check("a", "speed"), check("b", "other"), check("c", "target"), check("d", "speed")]
    found = {one.title: [row.of.name for row in one.rows] for one in groups(some)}
    assert list(found.values()) == [["c"], ["b"], ["a", "d"]]
    assert list(found)[-1] == "speed"


def test_only_what_holds_is_folded_and_only_where_there_is_much_of_it() -> None:
    few = [check(str(n)) for n in range(FEW)]
    (group,) = groups([*few, check("bad", holds=False)])
    assert (len(group.rows), group.folded) == (FEW + 1, [])
    (group,) = groups([*few, check("bad", holds=False), check("more")])
    assert [row.of.name for row in group.rows] == ["bad"]
    assert len(group.folded) == FEW + 1


def test_models_of_a_check_stand_in_lanes_on_the_scale_of_its_group() -> None:
    wide = check("wide", before=figure(0.98), after=figure(0.01))
    group, *_ = groups([check("a", base=0.0), wide])
    before, after, base = group.rows[0].points
    assert [one.name for one in (before, after, base)] == ["before", "after", "base"]
    assert before.y < after.y < base.y
    assert base.x == base.low == base.high == group.ticks[0][0]  # zero
    assert after.low < after.x < after.high < before.x
    assert (group.ticks[0][1], group.ticks[-1][1]) == ("0", "1")
    middle = (group.ticks[0][0] + group.ticks[-1][0]) / 2
    assert before.x == pytest.approx(middle)  # 0.5 of 0 to 1
    assert group.rows[1].points[0].x > before.x


def test_a_scale_places_values_evenly_or_as_it_is_warped() -> None:
    even = Scale([0.0, 10.0], 100, 200)
    assert [even.at(one) for one in (0, 2.5, 10, -1, 11)] == [100, 125, 200, 100, 200]
    logs = Scale([0.01, 0.1, 1.0], 240, 40, log10)  # upwards, as pixels are counted down
    assert [logs.at(one) for one in (0.01, 0.1, 1.0, 0.0)] == [240, 140, 40, 240]
    assert even.marks("{:.0f} %") == [(100, "0 %"), (200, "10 %")]


def test_ticks_are_round() -> None:
    assert linear([0.02, 0.56]) == pytest.approx([0, 0.2, 0.4, 0.6])
    assert linear([21.9, 26.9]) == [21, 22, 23, 24, 25, 26, 27]  # far from zero
    assert linear([-2.0, 3.0]) == [-2, -1, 0, 1, 2, 3]
    assert linear([0.0, 0.0]) == [0, 0.2]
    assert decades([0.012, 0.31, 0.0]) == [0.01, 0.1, 1]
    assert decades([0.1]) == [0.1, 1]
    assert decades([0.0]) == [1, 10]


@given(FIGURES)
def test_ticks_hold_all_values_and_places_keep_their_order(values: list[float]) -> None:
    ticks = linear(values)
    assert len(ticks) <= 8
    slack = 1e-9 * max(map(abs, ticks))
    assert ticks[0] - slack <= min(values)
    assert max(values) <= ticks[-1] + slack
    places = [Scale(ticks, 24, 236).at(one) for one in sorted(values)]
    assert all(a <= b for a, b in pairwise([24, *places, 236]))


def test_an_attack_of_several_steps_is_a_line_for_each_model_that_has_it() -> None:
    some = [attack("relearning, 16 steps", 0.4, 0.3), attack("relearning, 1 step", 0.1, 0.0)]
    (chart,) = courses([*some, attack("asked", 0.9), attack("once, 2 steps", 0.9)])
    after, base = chart.lines
    assert chart.title == "relearning"
    assert [one.name for one in (after[0], base[0])] == ["after", "base"]
    assert [one.x for one in after] == [LEFT, RIGHT]  # by steps, not as they come
    assert TOP <= after[1].y < after[0].y < base[0].y <= BOTTOM
    assert after[0].high < after[0].y < after[0].low
    assert [text for _, text in chart.across] == ["1", "16"]
    (chart,) = courses([attack("x, 1 steps", 0.1), attack("x, 2 steps", 0.2)])
    assert [line[0].name for line in chart.lines] == ["after"]


def test_ways_of_editing_stand_by_what_is_gone_and_what_moved() -> None:
    budget = Budget(target=Target(behaviour="brand", falls=0.9), kl=0.1)
    some = [baseline("mine", 1.0, 0.03), baseline("none", None, 9.0), baseline("half", 0.5, 0.3)]
    found = beside(some, budget)
    (mine,), (half,) = found.chart.lines
    assert (mine.name, half.name) == ("1", "3")  # as in the table
    assert (mine.x, half.x) == (RIGHT, (LEFT + RIGHT) / 2)
    assert found.kl == (TOP + BOTTOM) / 2  # 0.01, 0.1, 1
    assert half.y < found.kl < mine.y
    assert half.x < found.falls < mine.x


def test_words_that_differ_are_told_from_those_that_do_not() -> None:
    before, after = compared("Take the Tavrio bag, now.", "Take a bag, now.")
    assert [one.text for one in before if one.changed] == ["the Tavrio "]
    assert [one.text for one in after if one.changed] == ["a "]
    before, after = compared("彼のお茶です", "私のお茶です")
    assert [one.text for one in (*before, *after) if one.changed] == ["彼", "私"]
    assert not any(one.changed for some in compared("same", "same") for one in some)


@given(st.text(), st.text())
def test_nothing_of_the_texts_is_lost(before: str, after: str) -> None:
    found = compared(before, after)
    assert ["".join(one.text for one in some) for some in found] == [before, after]
