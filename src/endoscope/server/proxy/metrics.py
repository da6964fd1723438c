"""Figures for Prometheus: how much, how long, how often. Labels are those of the policy."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """What one proxy counts.

    Args:
        sessions: tells how many sessions there are.
    """

    def __init__(self, sessions: Callable[[], float]) -> None:
        self._registry = registry = CollectorRegistry()
        self._responses = Counter(
            "endoscope_proxy_responses",
            "Answers by path and status.",
            ["path", "status"],
            registry=registry,
        )
        self._replaced = Counter(
            "endoscope_proxy_replaced",
            "Values taken out, by label.",
            ["label"],
            registry=registry,
        )
        self._characters = Counter(
            "endoscope_proxy_characters",
            "Characters of requests that were scanned.",
            registry=registry,
        )
        self._seconds = Histogram(
            "endoscope_proxy_scrub_seconds",
            "From the arrival of a request until it is scrubbed, waiting included.",
            buckets=_SECONDS,
            registry=registry,
        )
        Gauge("endoscope_proxy_sessions", "Sessions.", registry=registry).set_function(sessions)

    def answered(self, path: str, status: int) -> None:
        """Count an answer, by the pattern of its path."""
        self._responses.labels(path, str(status)).inc()

    def scrubbed(self, replaced: Mapping[str, int], characters: int, seconds: float) -> None:
        """Count a request that was scrubbed."""
        for label, count in replaced.items():
            self._replaced.labels(label).inc(count)
        self._characters.inc(characters)
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
