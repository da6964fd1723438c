"""Synthetic Japanese text with known personal data: `generate(n, seed)`."""

from __future__ import annotations

import random
from collections.abc import Iterator

from recipes.pii.document import Document, document
from recipes.pii.japanese.grammar import Derivation

__all__ = ["generate"]

# The share of each register, which is also the symbol that its documents derive from.
_REGISTERS = {"article": 42, "scene": 24, "press": 20, "record": 14}


def generate(n: int, seed: int) -> Iterator[Document]:
    """Generates documents; the same `n` and `seed` give the same ones."""
    rng = random.Random(seed)
    for _ in range(n):
        register = rng.choices(list(_REGISTERS), weights=list(_REGISTERS.values()))[0]
        yield document(Derivation(rng).derive(register), "ja", register)
