"""A server on a loopback port, in a thread, with the engine of `fake` or another."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from endoscope.directions.methods import Erasure
from endoscope.guard import Guard, Policy, Rule
from endoscope.interventions import compile_interventions
from endoscope.models import Site
from endoscope.readouts import FeatureSpec, LogisticHead, Readout
from endoscope.server.app import App
from endoscope.server.guards import ServedGuard, reading_guard
from endoscope.server.running import Server
from endoscope.server.served import Limits, Served
from endoscope.server.variants import VariantFile, make_variants
from tests.scorers import NAMES, PatternScorer
from tests.server.fake import FakeEngine, fake_tokenizer

D_MODEL = 8
SITE = Site.parse("resid_post.1")
ERASURE = Erasure(torch.eye(D_MODEL)[:1], torch.eye(D_MODEL)[:1], torch.zeros(D_MODEL))
ADD = {"kind": "add", "site": "resid_post.1", "strength": 1.0, "vector": [1.0] * D_MODEL}


class Direction(NamedTuple):
    site: Site
    basis: torch.Tensor
    erasure: Erasure | None = None


def fake_readout() -> Readout:
    head = LogisticHead(torch.ones(2, D_MODEL), torch.zeros(2), ("O", "X"))
    return Readout(FeatureSpec(("resid_post.1",)), head)


def fake_guard(name: str, rule: Rule | None = None, scorers: Any = None) -> ServedGuard:
    """A guard for names that reads the serving model; the fake engine has readings for it."""
    policy = Policy(name=name, labels={"NAME": rule or Rule()}, validators=False)
    head = LogisticHead(torch.ones(2, D_MODEL), torch.zeros(2), ("O", "NAME"))
    readout = Readout(FeatureSpec(("resid_post.1",)), head)
    offline = Guard(policy, scorers or PatternScorer({"NAME": NAMES["NAME"]}))
    return reading_guard(name, policy, readout, {"NAME": 0.5}, offline)


def fake_served(pause: float = 0.0, **more: Any) -> Served:
    """A model of three layers without weights, with a probe, directions, a guard and variants."""
    tokenizer = fake_tokenizer()
    engine = FakeEngine(tokenizer, pause)

    def check(interventions: Any) -> None:
        compile_interventions(interventions, D_MODEL, lambda site: 1.0)

    generator = torch.Generator().manual_seed(0)
    given: dict[str, Any] = {
        "name": "fake",
        "engine": engine,
        "tokenizer": tokenizer,
        "context": 1000,
        "fingerprint": "fp_fake",
        "check": check,
        "alive": lambda: engine.alive,
        "probes": {"words": fake_readout()},
        "directions": {
            "sea": Direction(SITE, torch.randn(1, D_MODEL, generator=generator)),
            "gone": Direction(SITE, torch.eye(D_MODEL)[:1], ERASURE),
            "plane": Direction(SITE, torch.eye(D_MODEL)[:2]),
        },
        "guards": {
            "names": fake_guard("names"),
            "flags": fake_guard("flags", Rule(action="flag")),
            "stops": fake_guard("stops", Rule(action="stop")),
            "steers": fake_guard("steers", Rule(action="steer", interventions=[ADD])),
        },
        "limits": Limits(requests=4, waiting=4, prompt_tokens=500, tokens=200, seconds=20),
    }
    served = Served(**(given | more))
    files = [
        VariantFile(
            name="loud", interventions=[{"kind": "add", "direction": "sea", "strength": 2}]
        ),
        VariantFile(name="polite", system="Be kind.", probes=["words"]),
    ]
    object.__setattr__(served, "variants", make_variants(files, served))
    return served


_SERVERS: dict[int, Server] = {}


def signalled(app: App) -> None:
    """Do to a server what a signal does."""
    _SERVERS[id(app)].handle_exit(signal.SIGTERM, None)


@contextmanager
def running(
    served: Served, *, hosts: frozenset[str] | None = None, **options: Any
) -> Iterator[tuple[str, App]]:
    """Serve on a free loopback port; gives the URL and the application."""
    app = App(served, hosts)
    listening = threading.Event()
    server = Server(
        app.edge, "127.0.0.1", 0, ready=lambda url: listening.set(), cut=app.worker.cut, **options
    )
    _SERVERS[id(app)] = server
    thread = threading.Thread(target=server.listen, daemon=True)
    thread.start()
    assert listening.wait(20)
    try:
        yield server.url, app
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


async def eventually(condition: Any, seconds: float = 5.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
