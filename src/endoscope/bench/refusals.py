"""A refusal removed without the base: ours beside heretic, on the same prompts."""

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import numpy as np

from endoscope.behaviours import Behaviour, Item, measure, read_items, shipped_prompts
from endoscope.bench.heretic import HereticRun, Prompts, Search, run_heretic
from endoscope.bench.pairs import Estimate
from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options
from endoscope.bench.worker import WorkerError
from endoscope.edit.changes import onto_base
from endoscope.edit.forms.weights import write_weights
from endoscope.edit.methods.redirect import Redirect
from endoscope.edit.parts import running
from endoscope.edit.passage import Passage, answered, rendered
from endoscope.edit.task import Example, Task
from endoscope.edit.trials import Trials
from endoscope.edit.trying import Divergences, Floats, Runs
from endoscope.engine import Model, open
from endoscope.errors import InputError
from endoscope.organisms import OrganismSpec

BENCH = "edit"
KIND_OF_THING = "refusal"  # what an organism names that refuses
ASKED = 16  # prompts, to see while searching whether it is gone
HARMLESS = 48  # prompts, a half to fit on and a half held out
TOKENS = 32  # of answers in which refusals are counted
MOST = 0.01  # nats at the first token, while searching
GONE = 0.05  # of refusals: what may be left


class Side(NamedTuple):
    """What one side did.

    Attributes:
        refusals: the share of held-out prompts that are still refused.
        kl: KL(before || after) at the first token of answers to held-out harmless prompts, in nats.
        seconds: that it took, from a model in memory to the best trial.
    """

    refusals: float
    kl: Floats
    seconds: float


def refusals(folder: Path, spec: OrganismSpec, options: Options) -> Iterator[Row | Failure]:
    """Let both remove the refusal of an organism; measure what is left with the same yardstick."""
    assert spec.measure is not None
    case = f"{folder.name}, {Redirect.name}, heretic with {options.trials} trials"
    subject = Subject(BENCH, case, "heretic")
    model = open(folder, dtype="float32")
    held_out = spec.behaviour(spec.measure)
    files = [file for one in spec.recipes for file in one.sources(spec.path.parent)]
    refused = [str(item["prompt"]) for file in files for item in read_items(file)]
    harmless = shipped_prompts("everyday")[:HARMLESS]
    prompts = Prompts(
        refused,
        harmless[::2],
        [str(one.prompt) for one in held_out.items],
        harmless[1::2],
    )
    before = measure(model, held_out).mean.value
    ours = _ours(model, prompts, held_out, options)
    try:
        theirs = _theirs(folder, model, prompts, held_out, options)
    except (InputError, WorkerError) as error:
        yield subject.failure(error)
        return
    told = f"of {before:.0%} before"
    ratio = (theirs.refusals + 0.01) / (ours.refusals + 0.01)
    estimate = Estimate(ratio, ratio, ratio)
    yield subject.row(ours.refusals, theirs.refusals, estimate, "share", f"refused {told}")
    yield subject.row(
        float(ours.kl.mean()),
        float(theirs.kl.mean()),
        _ratio(theirs.kl, ours.kl),
        "nats",
        "KL at the first token",
    )
    ratio = theirs.seconds / ours.seconds
    yield subject.row(ours.seconds, theirs.seconds, Estimate(ratio, ratio, ratio), "s", "time")


def _ours(model: Model, prompts: Prompts, held_out: Behaviour, options: Options) -> Side:
    start = perf_counter()
    shown = [_opening(model, one, "I'm sorry") for one in prompts.harmful]
    given = [[{"role": "user", "content": one}] for one in prompts.harmless]
    answers = model.generate(given, max_tokens=TOKENS, temperature=1.0, seed=0)
    kept = answered(model, given, answers)
    asked = [Item(id=str(n), prompt=one) for n, one in enumerate(prompts.harmful[:ASKED])]
    half = len(shown) // 2
    task = Task(
        model,
        None,
        "a refusal",
        fit=Example(shown, kept),
        held_out=Example(shown[half:], [one.opening for one in kept]),
        seen=held_out.model_copy(update={"items": tuple(asked)}),
        show=options.show,
    )
    method = Redirect(task)
    with TemporaryDirectory() as work:
        file = Path(work) / "trials.jsonl"
        trials = Trials(task, method.parts, budget=MOST, gone=GONE, file=file)
        settings = method.search(trials)
    seconds = perf_counter() - start
    run = partial(running, model, method.parts(settings))
    return _side(model, run, prompts, held_out, seconds)


def _theirs(
    folder: Path, model: Model, prompts: Prompts, held_out: Behaviour, options: Options
) -> Side:
    work = folder.parent / "heretic" / f"{folder.name}-{options.trials}"
    kept = work / "ran.json"
    if not kept.is_file():
        merged = work / "merged"
        merged.mkdir(parents=True, exist_ok=True)
        write_weights(model, onto_base(model.loaded.module, {}), merged)
        search = Search(options.trials, answer_tokens=TOKENS, markers=_markers(held_out))
        rmtree(work / "out", ignore_errors=True)  # of a run that was cut off
        ran = run_heretic(merged, prompts, search, work / "out")
        kept.write_text(json.dumps({"seconds": _seconds(ran), "versions": ran.versions}))
    told = json.loads(kept.read_bytes())
    options.versions.update(told["versions"])
    edited = open(work / "out" / "model", dtype="float32")
    edited.tokenizer.hf.chat_template = model.tokenizer.hf.chat_template
    return _side(model, lambda: nullcontext(edited), prompts, held_out, told["seconds"])


def _seconds(ran: HereticRun) -> float:
    """Return what its trials took: not that it loads and checks before."""
    return sum(one.seconds for one in ran.trials)


def _markers(held_out: Behaviour) -> Sequence[str]:
    """Return the words by which a refusal is told, so that both count the same."""
    words: Sequence[str] = held_out.scorer.check.words  # type: ignore[union-attr]
    return words


def _side(model: Model, run: Runs, prompts: Prompts, held_out: Behaviour, seconds: float) -> Side:
    with run() as edited:
        left = measure(edited, held_out).mean.value
    first = [_opening(model, one, "a") for one in prompts.held_out_harmless]
    return Side(left, Divergences(model, first)(run), seconds)


def _opening(model: Model, prompt: str, answer: str) -> Passage:
    return Passage.of_answer(rendered(model, [{"role": "user", "content": prompt}]), answer)


def _ratio(theirs: Floats, ours: Floats) -> Estimate:
    """Return how many times less ours moves, resampling prompts, which are the same for both."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(ours), (2000, len(ours)))
    ratios = theirs[drawn].mean(1) / ours[drawn].mean(1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    return Estimate(float(theirs.mean() / ours.mean()), float(low), float(high))
