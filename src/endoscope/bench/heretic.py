"""Heretic, which removes refusals by directional ablation, run as its users run it."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from endoscope.bench.environments import peer_python
from endoscope.bench.runner import job_file
from endoscope.bench.worker import Worker, WorkerError
from endoscope.errors import InputError

BATCH = 32  # prompts at once; to find the best number itself, it would answer some hundreds
STARTUP = 0.3  # the share of trials that it draws at random, by its own defaults
TIMEOUT = 24 * 3600.0


class Prompts(NamedTuple):
    """What it is told to tell apart, and what it measures each trial with.

    Attributes:
        harmful: prompts that are refused; the direction is made of them.
        harmless: prompts that are not.
        held_out_harmful: refusals are counted in the answers to these.
        held_out_harmless: the divergence is measured at the first token of answers to these.
    """

    harmful: Sequence[str]
    harmless: Sequence[str]
    held_out_harmful: Sequence[str]
    held_out_harmless: Sequence[str]


class Search(NamedTuple):
    """How it is to search.

    Attributes:
        trials: how many; 200 is its own default.
        answer_tokens: the length of the answers in which refusals are counted; its own default.
        system: the system message before each prompt; it always gives one, of its own if None.
        markers: what makes a refusal of an answer that contains it; its own list if empty.
        seed: of the search.
    """

    trials: int
    answer_tokens: int = 100
    system: str | None = None
    markers: Sequence[str] = ()
    seed: int = 0


class Trial(NamedTuple):
    """A trial of its search.

    Attributes:
        number: from 1.
        refusals: how many of the held-out harmful prompts were refused.
        kl: KL(before || after) at the first token of answers to held-out harmless prompts, in nats,
            the mean over prompts.
        seconds: what it took.
    """

    number: int
    refusals: int
    kl: float
    seconds: float


class HereticRun(NamedTuple):
    """What it did.

    Attributes:
        trials: all of them.
        prompts: how many could be refused.
        before: how many of them the model refused before.
        chosen: the trial with the fewest refusals, of these the one with the least divergence.
        model: the folder with the chosen trial's model; None if it could not be saved.
        loading: seconds before the first trial: of loading, and of all that is measured once.
        seconds: of everything.
        versions: what ran, by distribution.
    """

    trials: list[Trial]
    prompts: int
    before: int
    chosen: Trial
    model: Path | None
    loading: float
    seconds: float
    versions: dict[str, str]


def run_heretic(model: Path, prompts: Prompts, search: Search, out: Path) -> HereticRun:
    """Let it search in its own environment, on the CPU and in float32, and save what it found best.

    Args:
        model: a folder in the format of Hugging Face; it loads nothing else offline.
        prompts: none empty.
        search: how it is to search.
        out: a new folder. What it printed will be in `log`, its model in `model`.

    Raises:
        InputError: its environment is not installed, or `out` exists.
        WorkerError: it failed. The message quotes no prompt.
    """
    python = peer_python("heretic")
    out = out.absolute()
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise InputError(f"{out} exists.", "Name a new folder.") from None
    setup = {
        "folder": str(out),
        "environment": settings(model.absolute(), write(prompts, out / "prompts"), search),
        "answers": answers(out / "model", search.trials),
    }
    with Worker(job_file("edit_heretic"), python) as worker:
        versions = worker.load(setup)["versions"]
        seconds = worker.repeat(timeout=TIMEOUT).seconds
        ran = worker.result()
    journals = (out / "checkpoints").glob("*.jsonl")  # one, named after the model
    told = trials_of("".join(path.read_text(encoding="utf-8") for path in journals))
    if ran["exit_code"] or len(told) < search.trials:  # what it will not be told gives 0 as well
        raise WorkerError(f"heretic failed (exit code {ran['exit_code']}): see {out / 'log'}")
    trials = [_trial(one) for one in told]
    return HereticRun(
        trials,
        told[0]["n_bad_prompts"],
        told[0]["base_refusals"],
        min(trials, key=lambda trial: (trial.refusals, trial.kl)),
        out / "model" if (out / "model" / "config.json").is_file() else None,
        _seconds(ran["started"], told[0]["datetime_start"]),
        seconds,
        versions,
    )


def write(prompts: Prompts, folder: Path) -> dict[str, str]:
    """Write prompts as data sets that it can read; return the setting that names each.

    As lines of JSON, and not as text that it reads too, so that a prompt may have several lines.
    """
    parts = {
        "good_prompts": prompts.harmless,
        "bad_prompts": prompts.harmful,
        "good_evaluation_prompts": prompts.held_out_harmless,
        "bad_evaluation_prompts": prompts.held_out_harmful,
    }
    named = {}
    for name, texts in parts.items():
        (folder / name).mkdir(parents=True)
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / name / "train.jsonl").write_text(lines, encoding="utf-8")
        dataset = {"dataset": str(folder / name), "split": "train", "column": "text"}
        named[name] = json.dumps(dataset)
    return named


def settings(model: Path, datasets: dict[str, str], search: Search) -> dict[str, str]:
    """Return the environment that it reads its settings from; the others are as they come.

    It has a flag for each too, which takes escapes in lists of words as they are written.
    """
    chosen = {
        "model": str(model),
        "device_map": "cpu",
        "dtypes": json.dumps(["float32"]),
        "batch_size": str(BATCH),
        "n_trials": str(search.trials),
        "n_startup_trials": str(max(1, round(STARTUP * search.trials))),
        "max_response_length": str(search.answer_tokens),
        "seed": str(search.seed),
        "response_prefix": "",  # to look for one, it would answer all prompts once more
        "export_strategy": "merge",
        "study_checkpoint_dir": "checkpoints",
        **datasets,
    }
    if search.system is not None:
        chosen["system_prompt"] = search.system
    if search.markers:
        chosen["refusal_markers"] = json.dumps(list(search.markers))
    return {f"HERETIC_{name.upper()}": value for name, value in chosen.items()}


def answers(model: Path, trials: int) -> str:
    """Return what a user would type who wants the best trial in a folder, and then to leave.

    Its menu lists the trials that no other excels in both figures, the fewest refusals first, then
    two more entries, of which the last one leaves. How many trials it lists is not known before; a
    number that is too high is asked for again, so they are counted down.
    """
    trial, save, back = 1, 1, 5
    return "".join(f"{line}\n" for line in (trial, save, model, back, *range(trials + 2, 2, -1)))


def trials_of(journal: str) -> list[dict[str, Any]]:
    """Return what its journal, which Optuna writes, says of each trial: times, and its figures."""
    trials: list[dict[str, Any]] = []
    for line in journal.splitlines():
        entry = json.loads(line)
        if "trial_id" in entry:
            trials[entry["trial_id"]].update(entry, **entry.get("user_attr", {}))
        elif "datetime_start" in entry:  # a new one: the numbers of trials are counted
            trials.append(entry)
    return trials


def _trial(told: dict[str, Any]) -> Trial:
    seconds = _seconds(told["datetime_start"], told["datetime_complete"])
    return Trial(told["index"], told["refusals"], told["kl_divergence"], seconds)


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
