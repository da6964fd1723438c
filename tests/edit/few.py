"""Fewer questions for verifications of tiny models."""

import pytest

from endoscope.behaviours import read_items
from endoscope.edit.verify.capabilities import capabilities


def ask_few(patch: pytest.MonkeyPatch) -> None:
    """Ask a few items of each suite: a tiny model knows none, and they are long.

    And 24 of the neutral and of the ordinary prompts, eight tokens of each answer: all of them take
    minutes. What is fine-tuned away is tried for the fewest steps and for the most.
    """
    suites = {
        name: one.model_copy(update={"items": one.items[:4]})
        for name, one in capabilities().items()
    }
    patch.setattr("endoscope.edit.verify.verifying.capabilities", lambda: suites)
    for module in ("verify.neutral", "ordinary"):
        patch.setattr(f"endoscope.edit.{module}.read_items", lambda path: read_items(path)[:24])
    for module in ("verify.neutral", "verify.baselines", "ordinary"):
        patch.setattr(f"endoscope.edit.{module}.TOKENS", 8)
    patch.setattr("endoscope.edit.verify.neutral.PART", 10)  # 24 are no multiple of it
    patch.setattr("endoscope.edit.verify.baselines.STEPS", (10, 80))
