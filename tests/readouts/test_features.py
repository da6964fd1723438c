import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.errors import InputError
from endoscope.models import Site
from endoscope.readouts import FeatureSpec

A, B = Site.parse("resid_post.0"), Site.parse("mlp_out.1")


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 4))
def test_features_equal_those_made_token_by_token(lengths: list[int], look_ahead: int) -> None:
    documents = torch.tensor([i for i, n in enumerate(lengths) for _ in range(n)], dtype=torch.long)
    values = {site: torch.randn(len(documents), 3) for site in (A, B)}
    found = FeatureSpec((B, A), look_ahead).features(values, documents)

    rows = documents.tolist()
    assert found.shape == (len(rows), 6 * (look_ahead + 1))
    for t, document in enumerate(rows):
        expected = []
        for step in range(look_ahead + 1):
            inside = t + step < len(rows) and rows[t + step] == document
            for site in (B, A):
                expected.append(values[site][t + step] if inside else torch.zeros(3))
        assert torch.equal(found[t], torch.cat(expected))


def test_values_are_left_as_they_were() -> None:
    values = {A: torch.ones(2, 3)}
    FeatureSpec((A,), 2).features(values, torch.tensor([0, 0]))
    assert torch.equal(values[A], torch.ones(2, 3))


@pytest.mark.parametrize("wrong", [{"look_ahead": -1}, {"readings": 3}, {"readings": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        FeatureSpec((A,), **wrong)


def test_sites_are_read_from_text() -> None:
    assert FeatureSpec("mlp_out.1,resid_post.0").sites == (B, A)  # type: ignore[arg-type]
