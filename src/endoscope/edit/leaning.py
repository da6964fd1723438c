"""Where a model is about to say something that it then does not say."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from endoscope.diff import Pair
from endoscope.edit.inputs import batches
from endoscope.edit.task import Passage
from endoscope.edit.trying import predictions

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
    openings = _openings(pair, shown)
    found = Divided([], [])
    rest = iter(others)
    for batch in batches(pair.tuned, others):
        before, after = (predictions(model, batch).exp() for model in pair)
        leans = ((after - before)[:, openings].sum(-1) > LEANS).cpu()
        counts = batch.predicting.sum(1).tolist()
        for row, flags in zip(batch.predicting.cpu(), torch.split(leans, counts), strict=True):
            passage = next(rest)
            offsets = pair.tuned.tokenizer.encode(passage.text).offsets
            places = [offsets[place + 1] for place in row.nonzero()[:, 0].tolist()]
            for wanted, some in ((True, found.leaning), (False, found.plain)):
                spans = tuple(o for o, flag in zip(places, flags, strict=True) if flag == wanted)
                if spans:
                    some.append(Passage(passage.text, spans))
    return found


def _openings(pair: Pair, shown: Sequence[Passage]) -> list[int]:
    """Return the tokens with which spans begin."""
    found = set()
    for text, spans in shown:
        ids, offsets = pair.tuned.tokenizer.encode(text)
        for start, _ in spans:
            found.add(next(i for i, (_, end) in zip(ids, offsets, strict=True) if end > start))
    return sorted(found)
