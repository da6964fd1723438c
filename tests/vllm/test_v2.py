"""vLLM's V2 runner, on a CPU, under asynchronous scheduling: what it does by default on GPUs.

The other tests of this folder are run on it too; see `make test-vllm`.
"""

import os
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from vllm.platforms.cpu import CpuPlatform

from tests.engine.test_stream_core import mix
from tests.vllm.conftest import Pair

pytestmark = pytest.mark.skipif(
    os.environ.get("VLLM_USE_V2_MODEL_RUNNER") != "1", reason="V2 is tested in a run of its own"
)


@pytest.fixture
def asynchronous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the configuration says; on CPUs vLLM turns it off."""
    original = CpuPlatform.check_and_update_config.__func__  # type: ignore[attr-defined]

    def kept(cls: type[CpuPlatform], config: Any) -> None:
        asked = config.scheduler_config.async_scheduling
        original(cls, config)
        config.scheduler_config.async_scheduling = asked

    monkeypatch.setattr(CpuPlatform, "check_and_update_config", classmethod(kept))


@pytest.mark.usefixtures("asynchronous")
def test_asynchronous_scheduling(pairs: Callable[..., Pair]) -> None:
    """A step is begun before what the last one gave is known; requests come, stop and go."""
    pair = pairs("llama", async_scheduling=True)
    config = pair.vllm.engine._vllm.vllm_config
    assert config.use_v2_model_runner
    assert config.scheduler_config.async_scheduling
    pair.agree(mix(12))
    text = "The sea is calm today, " * 6
    mine, its = (one.capture([text], "resid_post.2") for one in (pair.vllm, pair.transformers))
    assert (mine["resid_post.2"] - its["resid_post.2"]).abs().max() < 1e-4
