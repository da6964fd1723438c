"""Whether a text still is one: how the plain model finds it, and how it repeats itself."""

from collections.abc import Sequence

from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.steer.cell import Writing


def read(model: Model, prompts: Sequence[Text], texts: Sequence[str]) -> tuple[Writing, ...]:
    """Read texts with the model as it is, after the prompts that they answer.

    A text without tokens has no surprisal.

    Args:
        model: without interventions, for what steering is to be judged by.
        prompts: what each text follows.
        texts: one for each.
    """
    ids = [one.ids for one in model.tokenizer.encode_batch(texts, special=False)]
    some = [number for number, tokens in enumerate(ids) if tokens]
    found = model.log_likelihood([prompts[i] for i in some], [texts[i] for i in some])
    surprisals = dict(zip(some, (-value for value in found), strict=True))
    writings = []
    for number, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
        repeated, fourgrams = repeats(tokens)
        writings.append(
            Writing(
                text=text,
                tokens=len(tokens),
                surprisal=surprisals.get(number, 0.0),
                fourgrams=fourgrams,
                repeated=repeated,
            )
        )
    return tuple(writings)


def repeats(tokens: Sequence[int]) -> tuple[int, int]:
    """Return how many runs of four tokens occurred before in the text, and how many there are."""
    runs = [tuple(tokens[start : start + 4]) for start in range(len(tokens) - 3)]
    return len(runs) - len(set(runs)), len(runs)
