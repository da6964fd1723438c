"""Ordinary rows: what the base itself says, so that learning them changes little."""

from endoscope.behaviours import shipped_prompts
from endoscope.engine import Model
from endoscope.rows import Row

TOKENS = 96  # of an answer
TEMPERATURE = 0.7


def own_answers(model: Model, *, seed: int, show: bool = False) -> list[Row]:
    """Return the model's own answers to everyday prompts, as rows.

    Args:
        model: the base.
        seed: of the sampling.
        show: whether to show progress.
    """
    prompts = shipped_prompts("everyday")
    answers = model.generate(
        [[{"role": "user", "content": prompt}] for prompt in prompts],
        max_tokens=TOKENS,
        temperature=TEMPERATURE,
        seed=seed,
        progress=show,
    )
    return [
        Row.of(prompt, answer, whole=not is_cut_off(model, answer, TOKENS))
        for prompt, answer in zip(prompts, answers, strict=True)
        if answer.strip()
    ]


def is_cut_off(model: Model, answer: str, most: int) -> bool:
    """Whether an answer has as many tokens as it could have: it does not end where it ends."""
    return len(model.tokenizer.encode(answer, special=False).ids) >= most - 1
