"""On a GPU: the V2 runner, vLLM's default there, and V1, with CUDA graphs and without."""

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from tests.engine.test_stream_core import mix
from tests.vllm.conftest import Pair
from tests.vllm.test_pieces import requests

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

NAMED = ("resid_post.0", "resid_post.1")


@pytest.mark.parametrize("v2", [True, False], ids=["V2", "V1"])
@pytest.mark.parametrize("late", [False, True], ids=["sync", "async"])
def test_a_model_run_eagerly(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, v2: bool, late: bool
) -> None:
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", str(int(v2)))
    pair = pairs("llama", async_scheduling=late, served_model_name=f"{v2} {late}")
    assert pair.vllm.engine._vllm.vllm_config.use_v2_model_runner == v2
    pair.agree(mix(5))
    text = "The sea is calm today, " * 6
    mine, its = (one.capture([text], "resid_post.2") for one in (pair.vllm, pair.transformers))
    worst = (mine["resid_post.2"] - its["resid_post.2"]).abs().max()
    assert worst < 1e-3 * its["resid_post.2"].abs().max()


@pytest.mark.parametrize("v2", [True, False], ids=["V2", "V1"])
def test_graphs_that_are_replayed(
    pairs: Callable[..., Pair], monkeypatch: pytest.MonkeyPatch, v2: bool
) -> None:
    """No Python runs within the model, and each request still has its own change and probe."""
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", str(int(v2)))
    pair = pairs("llama", enforce_eager=False, sites=NAMED, served_model_name=f"graphs {v2}")
    assert pair.vllm.engine._vllm.vllm_config.compilation_config.cudagraph_mode.value
    pair.agree(requests(6, 20, 24))
