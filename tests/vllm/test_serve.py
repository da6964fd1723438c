"""`endoscope serve --engine vllm`: the API of the embedded engine."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import endoscope
from endoscope.directions import Direction
from tests.vllm.conftest import CHAT, MODEL, PATIENCE, ask, body, text


@pytest.fixture(scope="module")
def url(sea: Path) -> Iterator[str]:
    program = Path(sys.executable).with_name("endoscope")
    options = ["--engine", "vllm", "--dtype", "float32", "--max-requests", "4", "--port", "0"]
    given = ["--direction", f"sea={sea}", "--kind", "attn_out", "--guard", "pii", "--json"]
    given += ["--vllm", "enforce_eager=true", "--vllm", "max_model_len=1024"]
    with subprocess.Popen(
        [program, "serve", MODEL, *options, *given],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("{"))
        yield json.loads(ready)["url"]
        process.send_signal(signal.SIGINT)
        process.wait(timeout=PATIENCE)


def test_requests_are_changed_and_read_each_as_it_says(url: str) -> None:
    push = {"kind": "add", "direction": "sea", "strength": 0.3}
    other = {"kind": "add", "site": "attn_out.9", "vector": [1.0, -1.0] * 288, "strength": 3}
    wanted = [
        {},
        {"endoscope": {"interventions": [push]}},
        {"endoscope": {"interventions": [other]}},
    ]
    with ThreadPoolExecutor(6) as pool:
        together = [text(one) for one in pool.map(lambda more: ask(url, **more), wanted * 2)]
    alone = [text(ask(url, **more)) for more in wanted]
    assert together == alone * 2
    assert len(set(alone)) == 3


def test_it_comes_to_the_text_of_the_embedded_engine(url: str, sea: Path) -> None:
    model = endoscope.open(MODEL, dtype="float32")
    push = endoscope.add(Direction.load(sea), 0.3)
    with model.intervene(push):
        expected = model.generate([CHAT], max_tokens=20)[0]
    record = {"kind": "add", "direction": "sea", "strength": 0.3}
    assert text(ask(url, endoscope={"interventions": [record]})) == expected


def test_what_is_asked_for_wrongly_is_refused(url: str) -> None:
    elsewhere = {"kind": "add", "site": "mlp_out.3", "vector": [1.0] * 576, "strength": 1}
    for wrong, says in (
        ({"interventions": [{"kind": "add", "direction": "sea", "strength": 1e9}]}, "strength"),
        ({"interventions": [elsewhere]}, "mlp_out.3 is not read"),
        ({"probes": ["nobody"]}, "no probe"),
    ):
        sent = body(endoscope=wrong)
        answer = httpx.post(f"{url}/v1/chat/completions", json=sent, timeout=PATIENCE)
        assert 400 <= answer.status_code < 500
        assert says in answer.json()["error"]["message"]


def test_a_guard_on_a_side_model_takes_personal_data_out(url: str) -> None:
    """The model goes on with what it has read three times."""
    prompt = 3 * "Write to mary.jones@example.com today.\n" + "Write to"
    sent = {"model": MODEL, "prompt": prompt, "max_tokens": 16, "temperature": 0}
    plain, guarded = (
        httpx.post(f"{url}/v1/completions", json={**sent, **more}, timeout=PATIENCE).json()
        for more in ({}, {"endoscope": {"guards": ["pii"]}})
    )
    assert "mary.jones@example.com" in plain["choices"][0]["text"]
    assert "[EMAIL]" in guarded["choices"][0]["text"]
    assert "mary.jones" not in str(guarded)
