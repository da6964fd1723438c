"""From a task to an edit: a method searches, and what came of it stands on the card."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from endoscope.artifacts import Card, DataRef, Evidence
from endoscope.behaviours import mean_evidence
from endoscope.edit.edit import KIND, Edit
from endoscope.edit.methods import Method
from endoscope.edit.parts import Parts, running
from endoscope.edit.passage import Passage
from endoscope.edit.task import Task
from endoscope.edit.trials import Trials
from endoscope.edit.trying import Floats, likelihoods


def edit_of(
    task: Task,
    method: type[Method],
    *,
    kl: float,
    falls: float,
    command: str,
    work: Path,
    seed: int = 0,
) -> Edit:
    """Find an edit that removes something and moves other predictions no further than it should.

    Args:
        task: what is to be removed.
        method: that finds edits.
        kl: how far predictions may move by the budget, in nats a token, KL(before || after). They
            move further only if what is to go would not go.
        falls: the share of the rise of what is to go that has to be gone.
        command: for the card.
        work: a folder where what was measured is kept, so that a search that was cut off goes on.
        seed: of what is held out.
    """
    found = method(task)
    whole = lru_cache(maxsize=2)(lambda key: found.parts(json.loads(key)))

    def parts(settings: Mapping[str, float]) -> Parts:
        """Return the edit of some settings; the last ones are kept, as each is tried twice."""
        return whole(json.dumps(dict(settings)))

    trials = Trials(
        task,
        parts,
        budget=kl,
        gone=1 - falls,
        file=work / f"{_digest(task, method.name, seed)}.jsonl",
    )
    settings = found.search(trials)
    made = parts(settings)
    base = task.base_name if task.base is None else task.base.name
    card = Card(
        kind=KIND,
        name=f"without: {task.title}",
        model=task.model.fingerprint,
        model_name=task.model.name,
        adapter=task.model.adapter,
        data=_ref("answers", [*task.fit.acting, *task.fit.kept]),
        command=command,
        seed=seed,
        sites=tuple(dict.fromkeys(str(one.site) for one in made.interventions)),
        evidence=tuple(_evidence(task, made, trials.movements(settings))),
        notes=(method.__doc__ or "").split("\n")[0],
        details={
            "method": found.name,
            **settings,
            "left while searching": round(trials.left(settings), 4),
            "moved while searching": round(trials.moved(settings), 4),
            **({} if base is None else {"base": base}),
        },
    )
    return Edit(card, *made)


def _digest(task: Task, method: str, seed: int) -> str:
    """Say what was searched for, where, and how."""
    seen = None if task.seen is None else task.seen.sha256
    passages = [task.fit.acting, task.fit.kept, task.held_out.shown, task.held_out.kept]
    base = None if task.base is None else task.base.fingerprint.digest
    how = [method, seed, str(task.model.dtype), version("endoscope")]
    about = [task.model.fingerprint.digest, base, *how, seen, passages]
    return sha256(json.dumps(about).encode()).hexdigest()[:16]


def _evidence(task: Task, parts: Parts, moved: Floats) -> list[Evidence]:
    """Return how likely what is removed is before and after, and how far all else moves."""
    shown = _ref("answers that show it", task.held_out.shown)
    kept = _ref("answers as they come", task.held_out.kept)
    metric = "log-likelihood a token where it shows"
    evidence_of = partial(mean_evidence, split="searched by")
    with running(task.model, parts) as model:
        after = likelihoods(model, task.held_out.shown)
    before = likelihoods(task.model, task.held_out.shown)
    evidence = [
        evidence_of(metric, after, shown),
        evidence_of(metric, before, shown, baseline="before"),
    ]
    if task.base is not None:
        base = likelihoods(task.base, task.held_out.shown)
        evidence.append(evidence_of(metric, base, shown, baseline="the base"))
    return [*evidence, evidence_of("KL(before || after) in nats a token", moved, kept)]


def _ref(name: str, passages: Sequence[Passage]) -> DataRef:
    digest = sha256(json.dumps(passages).encode()).hexdigest()
    return DataRef(name=name, sha256=digest, rows=len(passages))
