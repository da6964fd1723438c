"""What one request has come to: counted for its log line, its usage and the metrics."""

import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from endoscope.engine.requests import Step
from endoscope.server.metrics import Metrics
from endoscope.server.pieces import Piece


class Account:
    """Counts what happens to one request.

    Args:
        metrics: of the server.
        model: as the client called it.
        prompt_tokens: of all prompts, each counted once.

    Attributes:
        began: when it came, on the monotonic clock.
        tokens: generated so far, over all choices, whether or not a guard lets them out.
    """

    def __init__(self, metrics: Metrics, model: str, prompt_tokens: int) -> None:
        self.began = time.monotonic()
        self.tokens = 0
        self._metrics = metrics
        self._model = model
        self._prompt_tokens = prompt_tokens
        self._first: float | None = None
        self._outcomes: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        metrics.tokens.labels(model, "prompt").inc(prompt_tokens)

    async def steps(self, steps: AsyncIterator[Step]) -> AsyncGenerator[Step]:
        """Pass on what an engine streams, and count it."""
        before: float | None = None
        try:
            async for step in steps:
                if step.token_id >= 0:  # an end may have no token
                    now = time.monotonic()
                    if before is not None:
                        self._metrics.each_token.labels(self._model).observe(now - before)
                    before = now
                    self.tokens += 1
                    self._metrics.tokens.labels(self._model, "generated").inc()
                yield step
        finally:
            if (close := getattr(steps, "aclose", None)) is not None:
                await close()

    def piece(self, piece: Piece) -> None:
        """Count what goes out to the client."""
        if piece.tokens and self._first is None:
            self._first = time.monotonic() - self.began
            self._metrics.first_token.labels(self._model).observe(self._first)
        for probe, scores in piece.readings.items():
            for _, value in scores:
                self._metrics.scores.labels(probe).observe(value)
        found = [(one.policy, one.label, one.action) for one in piece.spans]
        found += [(one.policy, one.label, one.action) for one in piece.actions]
        for policy, label, action in found:
            self._metrics.guard.labels(policy, label, action).inc()
            self._found[f"{label}:{action}"] += 1
        for cost in piece.costs:
            self._metrics.side_seconds.labels(cost.policy, cost.model).inc(cost.seconds)

    def outcome(self, outcome: str) -> None:
        """Count how a choice ended."""
        self._outcomes[outcome] += 1
        self._metrics.generations.labels(self._model, outcome).inc()

    def note(self) -> dict[str, Any]:
        """Return the figures for the log line."""
        return {
            "model": self._model,
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self.tokens,
            "first_token": None if self._first is None else round(self._first, 4),
            "outcomes": dict(self._outcomes),
            "found": dict(self._found) or None,
        }
