"""What the clients ask."""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch

import endoscope
from endoscope.artifacts import Card
from endoscope.artifacts.card import DataRef
from endoscope.models import Site
from endoscope.probes import Probe
from endoscope.probes.options import Fitted
from endoscope.readouts import Calibration, FeatureSpec, LogisticHead

LONG = (
    "The harbour lies between two hills. In the morning the boats come in with what they caught "
    "in the night, and the people of the town stand on the quay to buy it. A bell rings when the "
    "first boat is in sight, and again when the last one has been unloaded. Then the gulls have "
    "the quay to themselves until the evening, when the nets are mended and the boats go out. "
)
"""Fills blocks of a cache of prefixes; requests with different changes begin with it."""
PROMPTS = (
    f"{LONG}On that day",
    f"{LONG}The old captain said that",
    "The capital of France is",
    "Once upon a time there was a sailor who",
    "To bake bread you need",
    "The three laws of motion say that",
    "Dear Sir or Madam,\nI am writing to",
    "def add(a, b):\n",
    "In the year 1969 two people",
    "My name is Mary Jones and my telephone number is",
)
CHATS = ("Name three colours.", "Write a line about the sea.", "Who are you?", "What is 2 + 2?")


@dataclass(frozen=True)
class Ask:
    """A greedy request whose answer is known once it was asked alone."""

    kind: str
    path: str
    body: dict[str, Any] = field(repr=False)


class Made(NamedTuple):
    """What a server is started with."""

    probe: Path
    d_model: int
    layers: int


def prepare(name: str, folder: Path) -> Made:
    """Save a probe of random weights for a model."""
    model = endoscope.open(name, dtype="float32")
    spec = FeatureSpec((Site(model.n_layers // 3, "resid_post"),), look_ahead=1)
    weights = torch.randn(2, spec.width(model.d_model), generator=torch.Generator().manual_seed(0))
    card = Card(
        kind="probe",
        name="random",
        model=model.fingerprint,
        model_name=model.name,
        data=DataRef(name="none", sha256="0" * 64, rows=1),
        command="python -m recipes.load",
        sites=tuple(map(str, spec.sites)),
        seed=0,
    )
    head = LogisticHead(0.01 * weights, torch.zeros(2), ("O", "X"))
    fitted = Fitted(head, Calibration(), {"X": 0.5}, penalty=1.0)
    Probe.make(fitted, spec, None, card).save(folder / "probe")
    return Made(folder / "probe", model.d_model, model.n_layers)


def greedy_asks(model: str, d_model: int, layers: int, tokens: int, guard: str | None) -> list[Ask]:
    """Return the mix: every prompt plain, and steered, probed or guarded in ways of its own."""
    random = Random(1)
    asks: list[Ask] = []
    kinds = ["plain", "steered", "probed", "both", *(["guarded"] if guard else [])]
    for number, text in enumerate((*PROMPTS, *CHATS)):
        for kind in kinds:
            ours: dict[str, Any] = {}
            if kind in ("steered", "both"):
                ours["interventions"] = [_intervention(random, d_model, layers)]
            if kind in ("probed", "both"):
                ours["probes"] = ["random"]
            if kind == "guarded":
                ours["guards"] = ["guard"]
            body: dict[str, Any] = {"model": model, "temperature": 0}
            body |= {"max_tokens": random.randint(tokens // 3, tokens)}
            body |= {"endoscope": ours} if ours else {}
            if number < len(PROMPTS):
                asks.append(Ask(kind, "/v1/completions", body | {"prompt": text, "logprobs": 2}))
            else:
                turns = [{"role": "user", "content": text}]
                more = {"messages": turns, "logprobs": True, "top_logprobs": 2}
                asks.append(Ask(kind, "/v1/chat/completions", body | more))
    return asks


def _intervention(random: Random, d_model: int, layers: int) -> dict[str, Any]:
    vector = [round(random.gauss(0, 1), 4) for _ in range(d_model)]
    site = f"resid_post.{random.randrange(layers)}"
    if random.random() < 0.3:
        return {"kind": "ablate", "site": site, "basis": [vector]}
    strength = round(random.uniform(0.2, 1.0), 3)
    positions = random.choice(["all", "prompt", "generated"])
    return {
        "kind": "add",
        "site": site,
        "vector": vector,
        "strength": strength,
        "positions": positions,
    }
