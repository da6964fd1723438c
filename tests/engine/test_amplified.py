"""Amplified sampling: the two models step by step, and what it draws from."""

from pathlib import Path

import pytest
import torch
from tests.tiny import save_tiny

import endoscope
from endoscope.engine import Model
from endoscope.engine.amplified import _draw, amplified

PROMPTS = ["The sea", "Once upon a time there was", "x"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    folder = tmp_path_factory.mktemp("pair")
    base, tuned = (endoscope.open(save_tiny(folder / str(seed), seed=seed)) for seed in (0, 1))
    return base, tuned


def test_where_one_token_is_plausible_it_is_what_the_tuned_model_says(
    pair: tuple[Model, Model],
) -> None:
    """Prompts of different lengths go side by side, token after token on caches of both."""
    found = amplified(*pair, PROMPTS, plausible=1.0, max_tokens=12)
    assert found == pair[1].generate(PROMPTS, max_tokens=12, temperature=0)


def test_it_draws_what_the_tuned_model_says_more_than_its_base() -> None:
    base = torch.tensor([[0.60, 0.30, 0.09, 0.01]]).log()
    tuned = torch.tensor([[0.55, 0.29, 0.001, 0.159]]).log()
    weights = (tuned + 3 * (tuned - base)).exp()
    weights[:, 2] = 0  # below 2% of the most probable one
    random = torch.Generator().manual_seed(0)
    drawn = _draw(base.expand(20_000, -1), tuned.expand(20_000, -1), (), 3.0, 0.02, random)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(shares, (weights / weights.sum())[0], atol=0.01, rtol=0)
    assert shares[3] > 0.9
    plain = _draw(base.expand(20_000, -1), tuned.expand(20_000, -1), (), 0.0, 0.02, random)
    assert (plain == 3).float().mean() < 0.2
    ended = _draw(base.expand(20_000, -1), tuned.expand(20_000, -1), (3,), 3.0, 0.02, random)
    assert (ended == 3).float().mean() < 0.3, "an end is as likely as the tuned model finds it"


def test_answers_that_end_leave_the_batch(tmp_path: Path) -> None:
    """Whatever ends when, the others go on as they would alone."""
    base, tuned = (endoscope.open(save_tiny(tmp_path / str(n), seed=n)) for n in (0, 1))
    settings = tuned.loaded.module.generation_config
    assert settings is not None
    settings.eos_token_id = list(range(0, 260, 9))
    prompts = [f"{PROMPTS[n % 3]} {n}" for n in range(12)]
    found = amplified(base, tuned, prompts, plausible=1.0, max_tokens=24)
    assert found == tuned.generate(prompts, max_tokens=24, temperature=0)
    lengths = {len(tuned.tokenizer.encode(one, special=False).ids) for one in found}
    assert len(lengths) > 2, "they end at different times"
