"""A token's row of the unembedding: nothing is fitted."""

from endoscope.directions.methods.base import Estimate, unit
from endoscope.engine import Model
from endoscope.errors import InputError


def unembedding(model: Model, token: str) -> tuple[int, Estimate]:
    """Return the id of a token, and its row of the unembedding less the mean of all rows.

    What all rows have in common moves all logits alike, which changes nothing. The gain of the
    final norm is left out. nostalgebraist 2020, "interpreting GPT: the logit lens".

    Raises:
        InputError: the text is not one token, or the model has no unembedding.
    """
    ids = model.tokenizer.encode(token, special=False).ids
    if len(ids) != 1:
        raise InputError(
            f"This text is {len(ids)} tokens of this model, not one.",
            "Try it with a space before it, or a shorter one.",
        )
    rows = model.loaded.anatomy.unembedding.double().cpu()
    return ids[0], Estimate(unit(rows[ids[0]] - rows.mean(0)))
