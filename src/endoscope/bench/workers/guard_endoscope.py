"""Redaction with Endoscope's guard: one probe, rules switched on."""

from collections.abc import Callable
from typing import Any

from endoscope.guard import Guard, Policy, Span
from endoscope.probes import Probe


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[list[Span]]], dict[str, Any]]:
    """Open the policy for all labels that the probe knows, and the model."""
    pii, known = Policy.load("pii"), Probe.load(setup["probe"]).labels
    labels = {label: rule for label, rule in pii.labels.items() if label in known}
    guard = Guard.load(pii.model_copy(update={"probe": setup["probe"], "labels": labels}))
    texts = setup["texts"]

    def together() -> list[list[Span]]:
        return [redaction.spans for redaction in guard.redact(texts)]

    def one_by_one() -> list[list[Span]]:
        return [guard.redact(text).spans for text in texts]

    facts = {"packages": ["endoscope", "torch", "transformers"]}
    return (one_by_one if setup["one_by_one"] else together), facts
