"""Synthetic English text with personal data in it, in many registers.

What the text says comes from the grammars in `grammar/` (nested rules, a few thousand choices),
the names from `people.py`, the values from `recipes.pii.values`; `noise.py` wears it down.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from recipes.pii.document import Document, Marked, document
from recipes.pii.english import noise
from recipes.pii.english.engine import Scope, rules
from recipes.pii.english.leaves import LEAVES

__all__ = ["REGISTERS", "generate"]

FILES = ("world", "plain", "prose", "wiki", "news", "social", "records")
REGISTERS = {"wiki": 34, "news": 8, "social": 28, "records": 36}  # the grammar's symbols; weights


def generate(n: int, seed: int) -> Iterator[Document]:
    """Draws labelled documents.

    Args:
        n: How many.
        seed: The same seed gives the same documents, and the first of them for a smaller `n`.

    Yields:
        Documents with their register and the labels of `recipes.pii.document.LABELS`.
    """
    grammar = rules(*FILES)
    rng = random.Random(seed)
    names, weights = list(REGISTERS), list(REGISTERS.values())
    for _ in range(n):
        register = rng.choices(names, weights)[0]
        marked = Scope(rng, grammar, LEAVES).expand(register)
        yield document(noise.trim(_wear(marked, register, rng)), "en", register)


def _wear(marked: Marked, register: str, rng: random.Random) -> Marked:
    """The register's usual damage."""
    roll = rng.random()
    if register == "social":
        if roll < 0.35:
            marked = noise.lower(marked)
        elif roll < 0.41:
            marked = noise.upper(marked)
        elif roll < 0.56:
            marked = noise.careless(marked, rng)
        if rng.random() < 0.12:
            marked = noise.typing_errors(marked, rng, 0.15)
        if rng.random() < 0.25:
            marked = noise.stripped(marked, "'")
        elif rng.random() < 0.5:
            marked = noise.split_clitics(marked)
        if rng.random() < 0.4:
            marked = noise.split_signs(marked)
    elif register in ("wiki", "news"):
        if roll < 0.3:
            marked = noise.spaced_quotes(marked)
        if rng.random() < 0.06:
            marked = noise.stripped(marked, "'")
        if rng.random() < 0.06:
            marked = noise.stripped(marked, ".")
    elif roll < 0.05:
        marked = noise.lower(marked)
    elif roll < 0.07:
        marked = noise.upper(marked)
    return marked
