"""A stream gives the scores that the whole document gives, however it is cut."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.readouts import (
    AttentionHead,
    Calibration,
    FeatureSpec,
    IncrementalScorer,
    JointScorer,
    LogisticHead,
    Pooling,
    Readout,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SITES = (Site.parse("resid_post.0"), Site.parse("resid_post.2"))
LABELS = ("O", "x", "y")
CALIBRATION = Calibration((1.5, 0.5), (0.2, -0.1))


def make_head(kind: str, width: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(width + seed)
    if kind == "logistic":
        bias = torch.full((3,), float(seed))
        return LogisticHead(torch.randn(3, width, generator=generator), bias, LABELS)
    query = torch.randn(2, width, generator=generator)
    value = torch.randn(2, 2, width, generator=generator)
    return AttentionHead(query, value, torch.zeros(2), LABELS, window=4)


@given(
    st.lists(st.integers(0, 5), max_size=8),
    st.integers(0, 4),
    st.sampled_from(["logistic", "attention"]),
    st.sampled_from([None, "max", "mean", "last", "rolling_mean_max:3"]),
)
def test_any_chunking_gives_the_batch_scores(
    chunks: list[int], look_ahead: int, kind: str, pooling: str | None
) -> None:
    tokens = sum(chunks)
    spec = FeatureSpec(SITES, look_ahead)
    head = make_head(kind, spec.width(3))
    values = {site: torch.randn(tokens, 3) * 100 for site in SITES}
    logits = head(spec.features(values, torch.zeros(tokens, dtype=torch.long)))
    if pooling is not None:  # of the document up to each token
        how = Pooling.parse(pooling)
        logits = torch.stack([how(logits[: n + 1]) for n in range(tokens)]) if tokens else logits
    expected = CALIBRATION.probabilities(logits)

    stream = IncrementalScorer(
        spec, head, CALIBRATION, None if pooling is None else Pooling.parse(pooling)
    )
    found, pushed = [], 0
    for size in chunks:
        rows = {site: values[site][pushed : pushed + size] for site in SITES}
        pushed += size
        found += stream.push(rows)
        assert len(found) == max(0, pushed - look_ahead)  # as early as the latency allows
    found += stream.finish()

    assert [scores.position for scores in found] == list(range(tokens))
    for position, probabilities in found:
        assert torch.allclose(probabilities, expected[position], atol=1e-7)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.integers(0, 3),
    st.sampled_from(["logistic", "attention"]),
    st.sampled_from([None, "max"]),
    st.lists(st.integers(1, 2), max_size=4),
)
def test_streams_pushed_together_give_what_each_gives(
    heads: list[int], look_ahead: int, kind: str, pooling: str | None, sizes: list[int]
) -> None:
    spec = FeatureSpec(SITES, look_ahead)
    head = make_head(kind, spec.width(3))
    how = None if pooling is None else Pooling.parse(pooling)

    def begin() -> list[IncrementalScorer]:
        """Streams that have each come some way already."""
        out = [IncrementalScorer(spec, head, CALIBRATION, how) for _ in heads]
        for number, (stream, before) in enumerate(zip(out, heads, strict=True)):
            generator = torch.Generator().manual_seed(number)
            stream.push({site: torch.randn(before, 3, generator=generator) for site in SITES})
        return out

    together, apart = begin(), begin()
    joint = JointScorer(together)
    for size in sizes:
        rows = {site: torch.randn(len(heads), size, 3) for site in SITES}
        found = joint.push(rows)
        for i, stream in enumerate(apart):
            expected = stream.push({site: value[i] for site, value in rows.items()})
            assert [one.position for one in found[i]] == [one.position for one in expected]
            for mine, its in zip(found[i], expected, strict=True):
                assert torch.allclose(mine.probabilities, its.probabilities, atol=1e-6, rtol=0)
    for mine, its in zip(together, apart, strict=True):
        left, expected = mine.finish(), its.finish()
        assert [one.position for one in left] == [one.position for one in expected]
        for one, other in zip(left, expected, strict=True):
            assert torch.allclose(one.probabilities, other.probabilities, atol=1e-6, rtol=0)


@given(
    st.lists(st.sampled_from([None, 0.5, 2.0]), min_size=1, max_size=5),
    st.integers(0, 3),
    st.lists(st.integers(1, 2), min_size=1, max_size=4),
)
def test_readouts_that_are_alike_are_pushed_together(
    scales: list[float | None], look_ahead: int, sizes: list[int]
) -> None:
    """Heads of one shape have weights, biases and calibrations of their own."""
    spec = FeatureSpec(SITES, look_ahead)
    readouts = [
        Readout(
            spec,
            make_head("logistic", spec.width(3), seed),
            Calibration() if scale is None else Calibration((scale, 1.0), (1.0, seed)),
        )
        for seed, scale in enumerate(scales)
    ]
    assert len({one.alike for one in readouts}) == 1
    together, apart = ([one.stream() for one in readouts] for _ in range(2))
    for number, stream in enumerate((*together, *apart)):  # they have come some way already
        stream.push({site: torch.ones(number % len(scales), 3) for site in SITES})
    joint = JointScorer(together)
    for size in sizes:
        rows = {site: torch.randn(len(scales), size, 3) for site in SITES}
        for i, found in enumerate(joint.push(rows)):
            expected = apart[i].push({site: value[i] for site, value in rows.items()})
            assert [one.position for one in found] == [one.position for one in expected]
            for mine, its in zip(found, expected, strict=True):
                assert torch.allclose(mine.probabilities, its.probabilities, atol=1e-6, rtol=0)


def test_what_is_not_alike_is_told_apart() -> None:
    spec = FeatureSpec(SITES, 1)
    linear = Readout(spec, make_head("logistic", spec.width(3)))
    others = [
        Readout(spec, make_head("attention", spec.width(3))),
        Readout(spec, make_head("attention", spec.width(3))),
        Readout(spec, linear.head, pooling=Pooling.parse("max")),
        Readout(FeatureSpec(SITES, 0), make_head("logistic", 3 * len(SITES))),
    ]
    assert len({linear.alike, *(one.alike for one in others)}) == 5


def test_rows_may_be_overwritten_after_the_push() -> None:
    spec = FeatureSpec(SITES, 1)
    head = make_head("logistic", spec.width(3))
    values = {site: torch.randn(2, 3) for site in SITES}
    expected = head(spec.features(values, torch.zeros(2, dtype=torch.long)))
    stream = IncrementalScorer(spec, head)
    buffer = {site: values[site][:1].clone() for site in SITES}
    stream.push(buffer)
    for rows in buffer.values():
        rows.zero_()
    scores = stream.push({site: values[site][1:] for site in SITES})
    assert torch.allclose(scores[0].probabilities, expected[0].softmax(0).float(), atol=1e-7)


def test_a_second_reading_cannot_stream() -> None:
    spec = FeatureSpec(SITES, readings=2)
    with pytest.raises(InputError, match="reads the whole text twice"):
        IncrementalScorer(spec, make_head("logistic", spec.width(3)))


def test_wrong_pushes_are_refused() -> None:
    spec = FeatureSpec(SITES)
    stream = IncrementalScorer(spec, make_head("logistic", spec.width(3)))
    with pytest.raises(InputError, match=r"resid_post\.2"):
        stream.push({SITES[0]: torch.zeros(1, 3)})
    with pytest.raises(InputError, match="different numbers"):
        stream.push({SITES[0]: torch.zeros(1, 3), SITES[1]: torch.zeros(2, 3)})
    stream.finish()
    with pytest.raises(InputError, match="has ended"):
        stream.push({site: torch.zeros(1, 3) for site in SITES})
