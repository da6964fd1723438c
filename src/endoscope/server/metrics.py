"""Figures for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_SCORE = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """What one server counts; each has its own registry."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.first_token = Histogram(
            "endoscope_time_to_first_token_seconds",
            "From the request's arrival to its first token, waiting included.",
            ["model"],
            buckets=_FIRST,
            registry=registry,
        )
        self.each_token = Histogram(
            "endoscope_time_per_token_seconds",
            "Between one token of an answer and the next.",
            ["model"],
            buckets=_TOKEN,
            registry=registry,
        )
        self.generations = Counter(
            "endoscope_generations",
            "Generations by how they ended.",
            ["model", "outcome"],
            registry=registry,
        )
        self.responses = Counter(
            "endoscope_responses",
            "Answers by path and status.",
            ["path", "status"],
            registry=registry,
        )
        self.tokens = Counter(
            "endoscope_tokens",
            "Tokens, of prompts and generated.",
            ["model", "kind"],
            registry=registry,
        )
        self.running = Gauge(
            "endoscope_generations_running", "Generations that run now.", registry=registry
        )
        self.waiting = Gauge(
            "endoscope_generations_waiting", "Generations that wait for a place.", registry=registry
        )
        self.scores = Histogram(
            "endoscope_probe_score",
            "Scores of tokens, by probe.",
            ["probe"],
            buckets=_SCORE,
            registry=registry,
        )
        self.guard = Counter(
            "endoscope_guard_actions",
            "What guards did, by policy, label and action.",
            ["policy", "label", "action"],
            registry=registry,
        )
        self.side_seconds = Counter(
            "endoscope_side_model_seconds",
            "Time that models beside the serving one took.",
            ["policy", "model"],
            registry=registry,
        )

    def watch(self, running: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Take the gauges from where the numbers are."""
        self.running.set_function(running)
        self.waiting.set_function(waiting)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
