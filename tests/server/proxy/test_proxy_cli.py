"""`endoscope proxy`: what it says, how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from typer.testing import CliRunner

from endoscope.cli.main import app
from endoscope.errors import InputError
from tests.server.proxy.provider import Provider, Serving, chat

# The real command with a guard that needs no model.
COMMAND = """
import sys
from endoscope.guard import Guard
from tests.server.proxy.provider import guard
Guard.load = lambda policy, **options: guard()
from endoscope.cli.main import main
sys.argv = ["endoscope", "proxy", *sys.argv[1:]]
main()
"""


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_says_where_it_is_and_ends_when_told() -> None:
    provider = Provider()
    provider.answer = lambda body: chat(body["messages"][0]["content"])
    with (
        Serving(provider.app) as url,
        running("--upstream", url, "--json", "--upstream-key-env", "KEY", KEY="sk-p") as process,
    ):
        assert process.stdout is not None
        about = json.loads(process.stdout.readline())
        assert about == {"url": about["url"], "upstream": f"{url}/v1", "policy": "pii"}
        body = {"model": "m", "messages": [{"role": "user", "content": "I am Mary Jones"}]}
        answer = httpx.post(about["url"] + "/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "I am Mary Jones"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert provider.raw[0][0]["authorization"] == "Bearer sk-p"
    assert provider.bodies[0]["messages"][0]["content"] == "I am [NAME_1]"
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events == ["listening", "request", "ending", "ended"]
    assert "Mary" not in err
    assert "sk-p" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--upstream", "nowhere"),
        ("--upstream", "http://x/v1", "--upstream-key-env", "NO_SUCH_KEY"),
        ("--upstream", "http://x/v1", "--api-key-env", "PATH"),
        ("--upstream", "http://x/v1", "--policy", "no-such-policy.yaml"),
    ],
)
def test_bad_input_is_said_before_a_model_is_opened(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["proxy", *arguments])
    assert isinstance(result.exception, InputError)


def test_help_teaches() -> None:
    result = CliRunner().invoke(app, ["proxy", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in ("--upstream", "--session-ttl", "--upstream-key-env", "x-endoscope-session"):
        assert word in result.stdout
