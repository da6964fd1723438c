import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endoscope.bench.pairs import f1, f1_ratio, median_ratio, run_pairs
from endoscope.bench.rows import Subject
from endoscope.bench.worker import Measurement


class Side:
    """A side that takes a set time and writes down when it was asked."""

    def __init__(self, name: str, log: list[str], seconds: float, peak: float | None = None):
        self.name, self.log, self.seconds, self.peak = name, log, seconds, peak

    def repeat(self) -> Measurement:
        self.log.append(self.name)
        return Measurement(self.seconds, self.peak)


def test_sides_take_turns_and_the_first_repetition_does_not_count():
    log: list[str] = []
    advanced: list[int] = []
    pairs = run_pairs(Side("A", log, 1.0), Side("B", log, 2.0), 4, advanced.append)
    assert "".join(log) == "AB" + "ABBAABBA"
    assert [(p.ours.seconds, p.theirs.seconds) for p in pairs] == [(1.0, 2.0)] * 4
    assert advanced == [1, 1, 1, 1]


def test_ratios_are_made_so_that_higher_is_better():
    log: list[str] = []
    ours, theirs = Side("A", log, 0.5, peak=100.0), Side("B", log, 1.5, peak=400.0)
    pairs = run_pairs(ours, theirs, 3)
    subject = Subject("capture", "a case", "nnsight")
    rate = subject.rate(pairs, 30, "tokens/s")
    assert (rate.ours, rate.theirs) == (60, 20)
    assert (rate.ratio, rate.low, rate.high) == pytest.approx((3, 3, 3))
    time = subject.time(pairs, 10, "ms/document")
    assert (time.ours, time.theirs, time.ratio) == pytest.approx((50, 150, 3))
    memory = subject.memory(pairs)
    assert memory is not None
    assert (memory.ours, memory.theirs, memory.ratio) == (100, 400, 4)


def test_memory_that_cannot_be_known_gives_no_row():
    log: list[str] = []
    pairs = run_pairs(Side("A", log, 1.0, 5.0), Side("B", log, 1.0, None), 2)
    assert Subject("guard", "a case", "self").memory(pairs) is None


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_the_interval_lies_within_the_ratios(ratios):
    estimate = median_ratio(ratios)
    assert estimate.value == pytest.approx(np.median(ratios))
    assert min(ratios) - 1e-9 <= estimate.low <= estimate.high <= max(ratios) + 1e-9


def test_the_interval_covers_the_true_median_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        estimate = median_ratio(random.lognormal(0.0, 0.2, size=20), seed=trial)
        covered += estimate.low <= 1.0 <= estimate.high
    assert 176 <= covered <= 200  # 190 expected, standard deviation 3; small samples cover less


def test_f1_by_hand():
    # 3 found, 1 wrong, 2 missed: precision 3/4, recall 3/5.
    assert f1([(2, 1, 0), (1, 0, 2)]) == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))
    assert f1([(0, 0, 0)]) == 0


def test_f1_ratio_of_equal_sides_is_one_without_doubt():
    counts = [(3, 1, 0), (0, 2, 5), (4, 0, 1)] * 5
    assert f1_ratio(counts, counts) == pytest.approx((1, 1, 1))


def test_f1_ratio_resamples_documents_for_both_sides_alike():
    ours = [(8, 0, 2)] * 10
    theirs = [(4, 0, 6)] * 10
    expected = (16 / 18) / (8 / 14)
    assert f1_ratio(ours, theirs) == pytest.approx((expected,) * 3)


def test_f1_ratio_stays_finite_where_the_other_side_finds_nothing():
    estimate = f1_ratio([(5, 0, 0)] * 3, [(0, 0, 5)] * 3)
    assert np.isfinite(estimate).all()
    assert estimate.value > 100


def test_two_sides_that_find_nothing_are_equal():
    assert f1_ratio([(0, 0, 5)] * 3, [(0, 2, 5)] * 3) == pytest.approx((1, 1, 1))
