"""Where a model is about to say something that it then does not say."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.diff import Pair
from endoscope.edit.inputs import batches, counting, openings
from endoscope.edit.passage import Passage
from endoscope.edit.trying import predictions
from endoscope.engine import Model

LEANS = 0.1  # more probability of how it begins than the base gives it


class Divided(NamedTuple):
    """Passages, divided by what the model was about to say.

    Attributes:
        leaning: the tokens before which it might have begun; passages without any are left out.
        plain: all others.
    """

    leaning: list[Passage]
    plain: list[Passage]


@torch.no_grad()
def divided(pair: Pair, shown: Sequence[Passage], others: Sequence[Passage]) -> Divided:
    """Divide the tokens of answers that do not show something by whether they might have.

    What shows in half of all answers might have shown in the other half as well: where it would
    have begun there, an edit has to act too, and what it moves there is not to be held against it.
    It might begin where the tuned model finds the tokens that it begins with in other answers more
    probable than the base does.

    Args:
        pair: both models.
        shown: where it shows.
        others: answers that do not show it.
    """
    words = _telling(pair.tuned, shown, others)
    found = Divided([], [])
    likely = _begins(pair.tuned, others, words)
    leaning = [one for one, p in zip(others, likely, strict=True) if bool((p > LEANS).any())]
    before = dict(zip(leaning, _begins(pair.base, leaning, words), strict=True))
    for passage, now in zip(others, likely, strict=True):
        leans = now - before[passage] > LEANS if passage in before else torch.zeros(len(now))
        places = counting(pair.tuned, passage)
        for wanted, some in ((True, found.leaning), (False, found.plain)):
            spans = tuple(o for o, flag in zip(places, leans, strict=True) if bool(flag) == wanted)
            if spans:
                some.append(Passage(passage.text, spans))
    return found


def _telling(model: Model, shown: Sequence[Passage], others: Sequence[Passage]) -> list[int]:
    """Return the tokens that it begins with, more often than other answers do."""
    begun, beside = (Counter(openings(model, some)) for some in (shown, others))
    return [one for one in begun if begun[one] / len(shown) > beside[one] / max(1, len(others))]


def _begins(model: Model, passages: Sequence[Passage], words: Sequence[int]) -> list[Tensor]:
    """Return how probable openings are at each token that counts, of each passage."""
    found: list[Tensor] = []
    for batch in batches(model, passages):
        likely = predictions(model, batch).exp()[:, words].sum(-1).cpu()
        found += torch.split(likely, batch.predicting.sum(1).tolist())
    return found
