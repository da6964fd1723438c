import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from endoscope.errors import InputError
from endoscope.readouts import Pooling, log_odds

METHODS = ["max", "mean", "last", "softmax", "top_k_mean:3", "rolling_mean_max:4"]


@given(st.integers(1, 12), st.integers(1, 15))
def test_pooled_by_definition(tokens: int, size: int) -> None:
    logits = torch.randn(tokens, 3, dtype=torch.float64)
    odds = log_odds(logits)

    def pool(text: str) -> torch.Tensor:
        return Pooling.parse(text)(logits)

    assert torch.equal(pool("max"), odds.max(0).values)
    assert torch.allclose(pool("mean"), odds.sum(0) / tokens)
    assert torch.equal(pool("last"), odds[tokens - 1])
    exp = odds.exp()
    assert torch.allclose(pool("softmax"), (exp * odds).sum(0) / exp.sum(0))
    k = min(size, tokens)
    assert torch.allclose(pool(f"top_k_mean:{size}"), odds.sort(0, descending=True)[0][:k].mean(0))
    means = torch.stack([odds[i : i + k].mean(0) for i in range(tokens - k + 1)])
    assert torch.allclose(pool(f"rolling_mean_max:{size}"), means.max(0).values)


@given(
    st.sampled_from(["max", "mean", "last", "softmax", "top_k_mean", "rolling_mean_max"]),
    st.integers(1, 6),
    st.lists(st.integers(0, 5), max_size=8),
    st.sampled_from([1.0, 1000.0]),
    st.integers(0, 2**16),
)
def test_any_pieces_give_the_score_of_the_tokens_so_far(
    method: str, size: int, pieces: list[int], scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(sum(pieces), 3, dtype=torch.float64, generator=generator)
    pooling = Pooling(method, size if method in ("top_k_mean", "rolling_mean_max") else None)
    pooled, end = pooling.start(), 0
    for piece in pieces:
        pooled.push(logits[end : end + piece])
        end += piece
        if end:
            assert torch.allclose(pooled.value(), pooling(logits[:end]), rtol=1e-12, atol=1e-12)
            assert torch.equal(pooled.value(), pooled.value())  # asking changes nothing
        else:
            with pytest.raises(InputError, match="without tokens"):
                pooled.value()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_remembered_does_not_grow(method: str) -> None:
    pooled = Pooling.parse(method).start()

    def remembered() -> int:
        tensors = [value for value in vars(pooled).values() if isinstance(value, torch.Tensor)]
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    sizes = []
    for _ in range(50):
        pooled.push(torch.randn(1, 3))
        sizes.append(remembered())
    assert 0 < sizes[-1] <= max(sizes[:10])


@pytest.mark.parametrize("method", METHODS)
def test_one_token_is_its_document(method: str) -> None:
    logits = torch.randn(1, 3)
    assert torch.allclose(Pooling.parse(method)(logits), log_odds(logits)[0], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_class_0_stays_at_zero_and_text_round_trips(method: str) -> None:
    pooling = Pooling.parse(method)
    assert str(pooling) == method
    assert float(pooling(torch.randn(9, 3))[0]) == 0


def test_sizes_equal_to_the_document_make_the_mean() -> None:
    logits = torch.randn(6, 2)
    for text in ("top_k_mean:6", "rolling_mean_max:6"):
        assert torch.allclose(Pooling.parse(text)(logits), Pooling("mean")(logits), atol=1e-6)


@pytest.mark.parametrize("text", ["median", "max:3", "top_k_mean:0", "top_k_mean:x", ""])
def test_what_is_no_pooling_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Pooling.parse(text)


def test_no_tokens_no_score() -> None:
    with pytest.raises(InputError, match="without tokens"):
        Pooling("mean")(torch.zeros(0, 2))
