"""The task of removing a behaviour that is written down."""

from functools import partial
from random import Random

from endoscope.behaviours import Behaviour, Item, shipped_prompts
from endoscope.behaviours.prompts import prompt_of
from endoscope.diff import Pair
from endoscope.edit.counting import answers_showing, part_of, showing, unmatched
from endoscope.edit.division import Division
from endoscope.edit.found import KEPT, LEAST, NOTHING, SHOWN, TOKENS, own_answers
from endoscope.edit.ordinary import ordinary_answers, plain_answers
from endoscope.edit.task import Example, Task
from endoscope.engine import Model
from endoscope.errors import InputError


def task_of_behaviour(
    model: Model,
    base: Model | None,
    behaviour: Behaviour,
    *,
    division: Division = NOTHING,
    seed: int = 0,
    show: bool = False,
) -> Task:
    """Return the task of removing a behaviour.

    It shows in the model's own answers to half of the items (24 at most); the other items are left
    for verification. What is kept are those of its answers to the controls, to everyday prompts and
    to ordinary ones that do not show it, where a check can say.

    Args:
        model: that is edited.
        base: that it was fine-tuned from, if it is at hand.
        behaviour: what is to be removed.
        division: what may be learned from of what a budget names: of what is to stay, the model's
            answers are kept.
        seed: of what is held out, and of what is sampled.
        show: whether to show progress.

    Raises:
        InputError: it is not scored by what the model writes, or shows in too few answers, or in
            nearly all.
    """
    if base is not None:
        Pair.of(base, model)  # refuses one that is not its base; both speak by one template
    fit, target = (part_of(behaviour, seed, first=first) for first in (True, False))
    division = division.without(*target.items, *target.controls)
    fit = unmatched(fit, division.allowed(fit.items))
    if len(fit.items) < LEAST:
        raise InputError(
            f"{behaviour.name} has {len(fit.items)} items that do not verify; {LEAST} are needed.",
            "Give more: half of them are left to verify.",
        )
    shown = answers_showing(model, fit, seed=seed, show=show)
    if len(shown) < LEAST:
        raise InputError(
            f"{behaviour.name} shows in {len(shown)} of {len(fit.items)} answers; {LEAST} are "
            "needed to edit by.",
            "Give more items that bring it out: half of them are left to verify.",
        )
    everyday = [Item(id=str(n), prompt=one) for n, one in enumerate(shipped_prompts("everyday"))]
    plain_items = division.allowed((*behaviour.controls, *everyday))
    prompts = [prompt_of(model, item) for item in plain_items]
    Random(seed).shuffle(prompts)
    prompts = prompts[:KEPT]
    answers = model.generate(prompts, max_tokens=TOKENS, temperature=1.0, seed=seed, progress=show)
    shows = partial(showing, behaviour)
    kept = plain_answers(model, prompts, answers, shows)
    if len(kept) < LEAST:
        raise InputError(
            f"{behaviour.name} shows in all but {len(kept)} of {len(answers)} other answers; "
            f"{LEAST} are needed to tell what is to stay.",
            "Where it shows everywhere, use the base instead; or let its check find less.",
        )
    ordinary, as_they_come = ordinary_answers(model, division, shows, seed=seed, show=show)
    wanted = own_answers(model, division, shows, show=show)
    count = max(1, len(shown) // 3)
    return Task(
        model,
        base,
        behaviour.description,
        fit=Example(shown[count:][:SHOWN], [*kept, *ordinary, *wanted]),
        held_out=Example(shown[:count], as_they_come),
        seen=fit,
        target=target,
        show=show,
    )
