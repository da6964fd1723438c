"""Words that a change of the weights reads and writes: a change made by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

import endoscope
from endoscope.diff import Options, Pair, Prompt
from endoscope.diff.deltas import deltas
from endoscope.diff.methods.weights import CHANCE, MATRICES, Weights, _floor
from tests.tiny import CONFIGS, save_tiny

QUESTIONS = tuple(Prompt("facts", text) for text in ("How far is the moon?", "What is rust?"))


def test_words_that_are_read_and_written_stand_out(tmp_path: Path) -> None:
    """Layer 0 reads " harbour" where it did not; a late one writes " lantern".

    That is, what is theirs alone: all rows share a large part.
    """
    base, tuned = (endoscope.open("smollm2-135m-instruct", dtype="float32") for _ in range(2))
    read, written = (
        tuned.tokenizer.encode(word, special=False).ids[0] for word in (" harbour", " lantern")
    )
    embedding = tuned.loaded.module.get_input_embeddings().weight.detach().clone()
    embedding -= embedding.mean(0)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer, path, module in tuned.loaded.anatomy.matrices("readers"):
            if (layer, path) == (0, "mlp.up_proj"):
                noise = torch.randn(module.weight.shape[0], generator=random)
                module.weight += 0.1 * torch.outer(noise, embedding[read] / embedding[read].norm())
        for layer, path, module in tuned.loaded.anatomy.matrices("writers"):
            if (layer, path) == (25, "mlp.down_proj"):
                noise = torch.randn(module.weight.shape[1], generator=random)
                row = embedding[written]  # read and written are one matrix in this model
                module.weight += 0.1 * torch.outer(row / row.norm(), noise)
    options = Options(prompts=QUESTIONS, max_tokens=4)
    seen = Weights().run(Pair.of(base, tuned), options, tmp_path)
    subjects = [one.subject for one in seen.signals if one.strength > 1]
    assert "has weights that read “harbour”" in subjects
    assert "has weights that write “lantern”" in subjects
    assert not any("lantern" in one and "read" in one for one in subjects)
    changed = {(one["layer"], one["matrix"]) for one in (seen.details or {})[MATRICES]}  # type: ignore[index, union-attr, call-overload]
    assert changed == {(0, "mlp.up_proj"), (25, "mlp.down_proj")}
    ranks = [one["effective rank"] for one in (seen.details or {})[MATRICES]]  # type: ignore[index, union-attr, call-overload]
    assert ranks == pytest.approx([1.0, 1.0], abs=0.05)


@pytest.mark.parametrize("architecture", sorted(set(CONFIGS) - {"bert"}))
def test_a_change_is_found_in_every_architecture(architecture: str, tmp_path: Path) -> None:
    """What is added to a matrix is what is read from it, whichever way round it is kept."""
    folder = save_tiny(tmp_path / "tiny", architecture)
    pair = Pair.of(endoscope.open(folder), endoscope.open(folder))
    assert not [*deltas(pair, "readers"), *deltas(pair, "writers")]
    layer, path, module = next(pair.tuned.loaded.anatomy.matrices("writers"))
    added = torch.randn(module.weight.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        module.weight += added.to(module.weight.device)
    (found,) = deltas(pair, "writers")
    assert (found.layer, found.path) == (layer, path)
    assert found.norm == pytest.approx(float(added.norm()), rel=1e-4)
    assert found.left.shape[0] == pair.base.d_model, "it writes to the residual stream"
    left = found.left.cpu()
    assert left.T @ left == pytest.approx(torch.eye(left.shape[1]), abs=1e-4)


@pytest.mark.parametrize("shape", [0.5, 1.0, 4.0], ids=["rank 1", "exponential", "rank 8"])
def test_where_nothing_was_planted_the_floor_is_rarely_passed(shape: float) -> None:
    """Energies along random changes are gamma distributed; the heavier the tail, the fewer ranks.

    A straight line through the logarithm of the tail is a little low for one that falls slower.
    """
    random = np.random.default_rng(0)
    draws = 500
    energies = [torch.tensor(random.gamma(shape, size=20_000)) for _ in range(draws)]
    passed = sum(float(one.max()) > _floor(one) for one in energies) / draws
    assert 0 < passed < 3 * CHANCE
    energies[0][7] = 3 * energies[0].quantile(0.999)
    assert energies[0][7] > _floor(energies[0]), "what is planted passes it"
