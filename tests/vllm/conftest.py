"""Models on vLLM, and the same on transformers; needs the environment that `make vllm` makes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

import endoscope
from endoscope import Probe, ProbeData
from endoscope.directions import ContrastingTexts, Direction
from endoscope.engine import Model
from endoscope.engine.requests import Request
from tests.engine.streams import check, run
from tests.tiny import byte_tokenizer, tiny_module

KINDS = ("attn_out", "resid_mid", "mlp_out")
SERVER = "vllm.entrypoints.openai.api_server"  # `vllm serve` looks for a package of another name
BLOCK = 32  # tokens in a block of the cache
MODEL = "smollm2-135m-instruct"  # behind servers
CHAT = [{"role": "user", "content": "Describe a busy market in the morning."}]
SPECS = Path("src/endoscope/behaviours/specs")
PATIENCE = 600  # seconds: for what hangs, and not for what is slow where much else runs

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


class Pair:
    """One model on both engines."""

    def __init__(self, name: str | Path, **options: Any) -> None:
        self.transformers = endoscope.open(name, dtype="float32")
        settings = {"max_model_len": 512, "max_num_seqs": 8, "enforce_eager": True} | options
        self.vllm: Model = endoscope.open(
            name, dtype="float32", engine="vllm", kinds=KINDS, block_size=BLOCK, **settings
        )

    def agree(self, coming: Sequence[tuple[int, Request]]) -> None:
        """Run requests on vLLM, each from its step on, and check them against the truth."""
        steps = run(self.vllm.engine._core, coming)
        for _, request in coming:
            check(self.transformers, request, steps[request.id])


def save(folder: Path, name: str, **options: Any) -> Path:
    """Write a tiny random model whose attention vLLM has on CPUs."""
    heads = {"head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
    tiny_module(name, **heads | options).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Pair]]:
    """Opens a model, and closes the one before it: each has processes of its own."""
    open_now: dict[str, Pair] = {}

    def pair(name: str, **options: Any) -> Pair:
        key = f"{name} {sorted(options.items())}"
        if key not in open_now:
            for _ in range(len(open_now)):
                open_now.popitem()[1].vllm.close()
            embedded = name in ("smollm2-135m-instruct", "gemma-3-270m")
            where = name if embedded else save(tmp_path_factory.mktemp("tiny") / name, name)
            open_now[key] = Pair(where, **options)
        return open_now[key]

    yield pair
    for one in open_now.values():
        one.vllm.close()


@pytest.fixture(scope="session")
def sea(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A direction of the model behind servers, as `endoscope direction fit` leaves it."""
    model = endoscope.open(MODEL, dtype="float32")
    source = ContrastingTexts.read_file(SPECS / "sea.pairs.jsonl")
    folder = tmp_path_factory.mktemp("directions") / "sea"
    Direction.fit(model, source, site="resid_post.14").save(folder)
    return folder


@pytest.fixture(scope="session")
def model() -> Model:
    """The model behind servers, on transformers."""
    return endoscope.open(MODEL, dtype="float32")


@pytest.fixture(scope="session")
def tone(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe of the model behind servers."""
    folder = tmp_path_factory.mktemp("probes") / "tone"
    data = ProbeData.read("demo/tone.jsonl")
    Probe.fit(model, data, sites="resid_post.15").save(folder)
    return folder


@contextmanager
def stock_server(model: Model, ours: dict[str, Any], *options: str) -> Iterator[str]:
    """Run vLLM's own server of a model with what Endoscope is told; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = ["--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "4"]
    given += ["--enforce-eager", "--additional-config", json.dumps({"endoscope": ours})]
    given += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", MODEL, *options]
    where = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", SERVER, "--model", model.loaded.folder, *given],
        env={**os.environ, "VLLM_PLUGINS": "endoscope"},
    ) as process:
        try:
            for _ in range(PATIENCE):
                time.sleep(1)
                assert process.poll() is None, "it ended by itself"
                try:
                    if httpx.get(f"{where}/health").status_code == 200:
                        break
                except httpx.TransportError:
                    continue
            yield where
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE)


def body(**more: Any) -> dict[str, Any]:
    """What a server is asked for, if nothing else is said."""
    return {"model": MODEL, "messages": CHAT, "max_tokens": 20, "temperature": 0, **more}


def ask(url: str, **more: Any) -> dict[str, Any]:
    """Ask a server for a chat that it can answer."""
    answer = httpx.post(f"{url}/v1/chat/completions", json=body(**more), timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def text(answer: dict[str, Any]) -> str:
    """What was answered."""
    content: str = answer["choices"][0]["message"]["content"]
    return content
