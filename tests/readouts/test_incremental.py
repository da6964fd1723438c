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
    LogisticHead,
    Pooling,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SITES = (Site.parse("resid_post.0"), Site.parse("resid_post.2"))
LABELS = ("O", "x", "y")
CALIBRATION = Calibration((1.5, 0.5), (0.2, -0.1))


def make_head(kind: str, width: int) -> Any:
    generator = torch.Generator().manual_seed(width)
    if kind == "logistic":
        return LogisticHead(torch.randn(3, width, generator=generator), torch.zeros(3), LABELS)
    query = torch.randn(2, width, generator=generator)
    value = torch.randn(2, 2, width, generator=generator)
    return AttentionHead(query, value, torch.zeros(2), LABELS, window=4)


@given(
    st.lists(st.integers(0, 5), max_size=8),
    st.integers(0, 4),
    st.sampled_from(["logistic", "attention"]),
    st.sampled_from(["max", "mean", "last", "rolling_mean_max:3"]),
)
def test_any_chunking_gives_the_batch_scores(
    chunks: list[int], look_ahead: int, kind: str, pooling: str
) -> None:
    tokens = sum(chunks)
    spec = FeatureSpec(SITES, look_ahead)
    head = make_head(kind, spec.width(3))
    values = {site: torch.randn(tokens, 3) * 100 for site in SITES}
    logits = head(spec.features(values, torch.zeros(tokens, dtype=torch.long)))
    expected = CALIBRATION.probabilities(logits)

    stream = IncrementalScorer(spec, head, CALIBRATION, Pooling.parse(pooling))
    found, pushed = [], 0
    for size in chunks:
        rows = {site: values[site][pushed : pushed + size] for site in SITES}
        pushed += size
        found += stream.push(rows)
        assert len(found) == max(0, pushed - look_ahead)  # as early as the latency allows
        if found:
            so_far = CALIBRATION.probabilities(Pooling.parse(pooling)(logits[: len(found)]))
            assert torch.allclose(stream.document(), so_far, atol=1e-7)
    found += stream.finish()

    assert [scores.position for scores in found] == list(range(tokens))
    for position, probabilities in found:
        assert torch.allclose(probabilities, expected[position], atol=1e-7)
    if tokens:
        whole = CALIBRATION.probabilities(Pooling.parse(pooling)(logits))
        assert torch.allclose(stream.document(), whole, atol=1e-7)


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
    with pytest.raises(InputError, match="tokens, not documents"):
        stream.document()
    stream.finish()
    with pytest.raises(InputError, match="has ended"):
        stream.push({site: torch.zeros(1, 3) for site in SITES})
