"""`endoscope serve` as a process: what it says, how it ends."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openai
import pytest
import torch
from typer.testing import CliRunner

import endoscope
from endoscope.artifacts import Card
from endoscope.artifacts.card import DataRef
from endoscope.cli.main import app
from endoscope.directions import Direction
from endoscope.engine.requests import Request
from endoscope.engine.transformers import TransformersEngine
from endoscope.errors import InputError
from endoscope.guard import UnscoredError
from endoscope.models import Site
from endoscope.probes import Probe
from endoscope.probes.options import Fitted
from endoscope.readouts import Calibration, FeatureSpec, LogisticHead, Pooling
from endoscope.server.app import App
from endoscope.server.loading import Options, load
from endoscope.server.running import Server
from tests.server.serving import fake_served, running
from tests.tiny import save_tiny

ENDOSCOPE = [sys.executable, "-c", "from endoscope.cli.main import main; main()", "serve"]
KEY = "key-" + "k" * 30


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, with a probe and a direction that fit it, and variants."""
    folder = tmp_path_factory.mktemp("served")
    model = endoscope.open(save_tiny(folder / "tiny"))
    save_artifacts(model, folder, "good")
    other = endoscope.open(save_tiny(folder / "other", seed=1))
    save_artifacts(other, folder, "foreign")
    (folder / "sailor.yaml").write_text(
        "interventions:\n  - {kind: add, direction: sea, strength: 2}\n"
        "probes: [words]\nsampling: {temperature: 0}\n"
    )
    return folder


def save_artifacts(model: endoscope.Model, folder: Path, name: str) -> None:
    def card(kind: str) -> Card:
        return Card(
            kind=kind,  # type: ignore[arg-type]
            name=name,
            model=model.fingerprint,
            model_name=model.name,
            data=DataRef(name="none", sha256="0" * 64, rows=1),
            command="",
            sites=("resid_post.1",),
            seed=0,
            details={"method": "mean"},
        )

    head = LogisticHead(torch.randn(2, model.d_model), torch.zeros(2), ("O", "X"))
    fitted = Fitted(head, Calibration(), {"X": 0.5}, penalty=1.0)
    for readings in (1, 2):
        spec = FeatureSpec("resid_post.1", readings=readings)  # type: ignore[arg-type]
        Probe.make(fitted, spec, None, card("probe")).save(folder / f"{name}-probe-{readings}")
    english = card("probe").model_copy(update={"details": {"languages": ["en"]}})
    Probe.make(fitted, FeatureSpec("resid_post.1"), None, english).save(folder / f"{name}-english")  # type: ignore[arg-type]
    pooled = FeatureSpec("resid_post.1")  # type: ignore[arg-type]
    whole = Probe.make(fitted, pooled, Pooling.parse("mean"), card("probe"))
    whole.save(folder / f"{name}-document")
    site = Site.parse("resid_post.1")
    Direction(site, torch.eye(model.d_model)[:1], card("direction")).save(folder / f"{name}-sea")


@contextmanager
def process(*options: str | Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    with subprocess.Popen(
        [*ENDOSCOPE, *map(str, options), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        try:
            line = run.stdout.readline()
            assert line, run.stderr.read() if run.stderr else ""
            yield json.loads(line)["url"], run
        finally:
            if run.poll() is None:
                run.kill()


def test_it_serves_and_ends_at_a_signal(tiny: Path) -> None:
    keys = tiny / "keys"
    keys.write_text(KEY)
    options = ["--variant", tiny / "sailor.yaml", "--probe", f"words={tiny}/good-probe-1"]
    options += ["--direction", f"sea={tiny}/good-sea", "--api-key-file", keys]
    with process(tiny / "tiny", *options) as (url, run):
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        assert [model.id for model in client.models.list()] == ["tiny", "sailor"]
        answer = client.completions.create(model="sailor", prompt="ab", max_tokens=4, logprobs=0)
        found = answer.choices[0].model_dump()["endoscope"]["readings"]["words"]
        assert [position for position, _ in found][:2] == [1, 2], "0 is BOS, which is not read"
        stream = iter(
            client.completions.create(
                model="tiny", prompt="x", max_tokens=200, stream=True, temperature=0
            )
        )
        first = next(stream)
        run.send_signal(signal.SIGINT)
        rest = list(stream)
        assert rest[-1].choices[0].finish_reason in ("stop", "length")
        assert first.id == rest[-1].id
        _, log = run.communicate(timeout=30)
    assert run.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["event"] for line in lines if line["event"] != "request"][:2] == [
        "listening",
        "ending",
    ]
    assert KEY not in log


def test_no_verb_loads_much_for_its_help() -> None:
    code = (
        "import sys, endoscope.cli.main as m\n"
        "try: m.app(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'fastapi', 'uvicorn', 'prometheus_client'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--api-key-env" in done.stdout
    assert "--api-key " not in done.stdout, "keys are not given where others see them"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--probe", "nameless"], "--probe"),
        (["--direction", "=x"], "--direction"),
        (["--probe", "a=b", "--probe", "a=c"], "called a"),
        (["--log-level", "loud"], "log level"),
        (["--api-key-env", "A_VARIABLE_THAT_IS_NOT_SET"], "API key"),
        (["--variant", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_opened(options: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        CliRunner().invoke(app, ["serve", "nowhere", *options], catch_exceptions=False)


def test_an_address_that_is_taken_is_bad_input() -> None:
    served = App(fake_served())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(served.edge, "127.0.0.1", taken.getsockname()[1])
        with pytest.raises(InputError, match="Cannot listen"):
            server.listen()
    with pytest.raises(InputError, match="Cannot listen"):
        Server(served.edge, "192.0.2.1", 0).listen()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"probes": {"a": "foreign-probe-1"}}, "foreign"),
        ({"directions": {"a": "foreign-sea"}}, "foreign"),
        ({"probes": {"a": "good-probe-2"}}, "twice"),
        ({"probes": {"a": "good-sea"}}, "direction"),
    ],
)
def test_what_does_not_fit_the_model(
    tiny: Path, what: dict[str, dict[str, str]], says: str
) -> None:
    given = {
        option: {name: tiny / folder for name, folder in named.items()}
        for option, named in what.items()
    }
    with pytest.raises(InputError, match=says):
        load(Options(str(tiny / "tiny"), **given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "no keys"),
        ("a: [", "YAML"),
        ("probes: [nobody]", "probes"),
        ("guards: [nobody]", "guards"),
        ("interventions: [{kind: add, direction: nobody, strength: 1}]", "direction"),
        ("interventions: [{kind: add, site: resid_post.1, vector: [1], strength: 1}]", "numbers"),
        ("intervention: []", "interventions"),
        ("sampling: {temperature: 9}", "temperature"),
        ("name: tiny", "tiny"),
    ],
)
def test_a_variant_that_makes_no_sense(tiny: Path, content: str, says: str) -> None:
    file = tiny / "bad.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=says):
        load(Options(str(tiny / "tiny"), variants=[(None, file)]))


DOCUMENT = (
    "name: d\nscope: document\nprobe: {probe}\nlabels: {{X: {{action: stop, threshold: 0.0}}}}"
)


TOKENS = "labels: {X: {}}\nprobe: good-probe-1"


def test_a_policy_that_judges_answers_as_a_whole(tiny: Path) -> None:
    file = tiny / "judging.yaml"
    file.write_text(DOCUMENT.format(probe="good-document"))
    served = load(Options(str(tiny / "tiny"), guards={"judging": str(file)}))
    with running(served) as (url, _):
        body = {"model": "tiny", "prompt": "ab", "seed": 1, "endoscope": {"guards": ["judging"]}}
        (choice,) = httpx.post(f"{url}/v1/completions", json=body).json()["choices"]
        at_hand = httpx.post(f"{url}/v1/guard", json={"text": "x"})
    served.engine.close()  # type: ignore[attr-defined]
    assert (choice["text"], choice["finish_reason"]) == ("", "content_filter")
    (action,) = choice["endoscope"]["guard"]["actions"]
    assert (action["action"], action["label"]) == ("stop", "X")
    assert (at_hand.status_code, at_hand.json()["error"]["param"]) == (400, "policy")


def test_an_answer_in_a_language_that_its_probe_does_not_read_is_an_error(tiny: Path) -> None:
    file = tiny / "english.yaml"
    file.write_text("labels: {X: {}}\nprobe: good-english")
    served = load(Options(str(tiny / "tiny"), guards={"english": str(file)}))
    stream = served.guards["english"].watch(Request("r", (1,))).stream
    served.engine.close()  # type: ignore[attr-defined]
    stream.push("Hello ")
    with pytest.raises(UnscoredError, match="Japanese"):
        stream.push("\u5c71\u7530\u3055\u3093")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (DOCUMENT.format(probe="auto"), "Name its probe"),
        (DOCUMENT.format(probe="good-probe-1"), "does not judge"),
        (DOCUMENT.format(probe="foreign-document"), "does not judge"),
        (DOCUMENT.format(probe="good-document").replace("X:", "Y:"), "labels .* not have: Y"),
        (DOCUMENT.format(probe="good-document").replace("X:", "EMAIL:"), "not have: EMAIL"),
        ("labels: {X: {action: escalate, judge: somebody}}", "judge"),
        ("labels: {X: {}}\nprobe: nowhere", "nowhere"),
        (
            "labels: {X: {action: steer, interventions: [{kind: add, site: resid_post.9, "
            "vector: [1], strength: 1}]}}",
            "numbers",
        ),
    ],
)
def test_a_policy_that_cannot_be_used_here(tiny: Path, content: str, says: str) -> None:
    file = tiny / "policy.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=says):
        load(Options(str(tiny / "tiny"), guards={"policy": str(file)}))


@pytest.mark.parametrize("content", [DOCUMENT.format(probe="good-document"), TOKENS])
def test_what_an_engine_does_not_read_is_refused_before_it_serves(
    tiny: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On vLLM, sites that were not named; that engine is tested apart."""

    def check(self: TransformersEngine, site: Site) -> None:
        raise InputError(f"{site} was not named.", "Name it.")

    monkeypatch.setattr(TransformersEngine, "check", check)
    file = tiny / "policy.yaml"
    file.write_text(content)
    for options, of in (
        ({"guards": {"hide": str(file)}}, "policy hide"),
        ({"probes": {"words": tiny / "good-probe-1"}}, "probe good"),
    ):
        with pytest.raises(InputError, match=rf"{of}: resid_post\.\d was not named"):
            load(Options(str(tiny / "tiny"), **options))  # type: ignore[arg-type]


def test_it_does_not_listen_beyond_this_machine_without_keys() -> None:
    with pytest.raises(InputError, match=r"no key is set.*127\.0\.0\.1"):
        app(["serve", "no-such-model", "--host", "0.0.0.0"], standalone_mode=False)
