"""A model that was edited says on vLLM what the live edit says on transformers."""

from pathlib import Path

import pytest
import torch

import endoscope
from endoscope import ablate
from endoscope.edit import Edit
from tests.edit.test_edit import card
from tests.vllm.conftest import KINDS, Pair, save

TEXTS = ["The sea is calm today, and the harbour is full.", "明日は東京駅で会います。"]
SITES = ["resid_pre.0"] + [f"{kind}.{n}" for kind in ("attn_out", "mlp_out") for n in range(3)]


def test_an_ablation_of_the_whole_stream_runs_on_vllm(tmp_path: Path) -> None:
    """Its embeddings were tied, and are two matrices now."""
    model = endoscope.open(save(tmp_path / "tied", "llama", tie_word_embeddings=True))
    basis = torch.linalg.qr(torch.randn(32, 4, generator=torch.Generator().manual_seed(0)))[0].T
    live = [ablate(basis, site=site) for site in SITES]
    Edit(card(model), live).write(model, tmp_path / "edited", form="weights")
    pair = Pair(tmp_path / "edited")
    everywhere = [f"{kind}.{n}" for kind in (*KINDS, "resid_post") for n in range(3)]
    mine = pair.vllm.capture(TEXTS, everywhere)
    said = pair.vllm.log_likelihood(TEXTS, ["xyz"] * 2)
    pair.vllm.close()
    plain = model.log_likelihood(TEXTS, ["xyz"] * 2)
    with model.intervene(*live):
        its = model.capture(TEXTS, everywhere)
        wanted = model.log_likelihood(TEXTS, ["xyz"] * 2)
    for site in everywhere:
        torch.testing.assert_close(mine[site], its[site], rtol=1e-3, atol=1e-4)
        assert (mine[site] @ basis.T).abs().max() < 1e-4
    assert said == pytest.approx(wanted, abs=1e-3)
    assert plain != pytest.approx(wanted, abs=1e-2)
