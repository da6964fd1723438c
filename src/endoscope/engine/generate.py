"""Texts for Python users: prompts in, generated texts out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from endoscope.engine.base import Engine
from endoscope.engine.capture import Text, check_texts
from endoscope.engine.requests import Request, Sampling, Step
from endoscope.errors import InputError
from endoscope.interventions import Intervention
from endoscope.progress import progress as progress_bar
from endoscope.readouts import Readout


def prompt_ids(engine: Engine, prompt: Text) -> tuple[int, ...]:
    """Return the tokens of a prompt: a text, or a conversation whose next turn is the model's.

    Raises:
        InputError: it cannot be encoded, or the model has no chat template.
    """
    tokenizer = engine.tokenizer
    text = prompt if isinstance(prompt, str) else tokenizer.chat(prompt, reply=True)
    return tuple(tokenizer.encode(text).ids)


def generate(
    engine: Engine,
    prompts: Sequence[Text],
    sampling: Sampling,
    interventions: tuple[Intervention, ...],
    *,
    progress: bool,
) -> list[str]:
    """Return the generated text of each prompt, in order (see `Model.generate`)."""
    check_texts(prompts)
    requests = [
        Request(
            str(number), prompt_ids(engine, prompt), _seeded(sampling, number), {}, interventions
        )
        for number, prompt in enumerate(prompts)
    ]
    texts = [""] * len(requests)
    with progress_bar("Generating", len(requests), show=progress) as advance:
        for name, step in engine.run(requests):
            if step.error is not None:
                raise InputError(f"Prompt {name}: {step.error}")
            texts[int(name)] += step.text
            advance(step.finish is not None)
    return texts


def stream(
    engine: Engine,
    prompt: Text,
    sampling: Sampling,
    readouts: Mapping[str, Readout],
    interventions: tuple[Intervention, ...],
) -> Iterator[Step]:
    """Yield the steps of one prompt as they come (see `Model.stream`)."""
    ids = prompt_ids(engine, prompt)
    return engine.iterate(Request(uuid4().hex, ids, sampling, readouts, interventions))


def _seeded(sampling: Sampling, number: int) -> Sampling:
    """Give each prompt random numbers of its own, so that equal prompts give different texts."""
    if sampling.seed is None:
        return sampling
    return replace(sampling, seed=sampling.seed + number)
