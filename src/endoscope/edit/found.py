"""The task of removing what a diff found."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

import regex

from endoscope.artifacts import check_same
from endoscope.behaviours import Behaviour, Item, shipped_behaviours
from endoscope.behaviours.checks import Regex
from endoscope.behaviours.prompts import prompt_of
from endoscope.behaviours.scorers import CheckScorer
from endoscope.diff import Finding, Pair, Report, Signal
from endoscope.diff.answers import WHO, Answer, all_sampled
from endoscope.diff.findings import findings
from endoscope.diff.phrase import words_of
from endoscope.diff.signal import Marked, Opposed
from endoscope.edit.counting import BEGINNING, answers_showing, part_of, showing, unmatched
from endoscope.edit.division import Division
from endoscope.edit.leaning import Divided, divided
from endoscope.edit.ordinary import Shows, ordinary_answers, plain_answers
from endoscope.edit.passage import Passage, rendered
from endoscope.edit.task import Example, Task
from endoscope.engine import Model
from endoscope.errors import InputError

LEAST = 8  # passages that show it
SHOWN, KEPT = 32, 64  # passages to fit on
HELD_OUT = 24  # passages that show it to measure on
ASKED, ITEMS = 32, 48  # questions while searching, and afterwards
AS_THEY_COME = "phrases"  # the method of a diff that looks into answers as they come
TOKENS = 48  # of an answer, as many as a diff lets the models write

NOTHING = Division()

T = TypeVar("T")


def task_of_finding(
    model: Model,
    base: Model | None,
    report: Path,
    number: int,
    *,
    words: str | None = None,
    division: Division = NOTHING,
    seed: int = 0,
    show: bool = False,
) -> Task:
    """Return the task of removing what a diff found.

    It shows where the samples of the finding's signals are marked. What is kept is what either
    model wrote for the diff in answer to questions that it does not show in answers to, and what
    the model answers to ordinary prompts without showing it. Half of the questions that it does
    show in answers to are left for verification; fewer than 16 are not divided, and verification
    asks those that were learned from.

    Args:
        model: that is edited.
        base: that it was fine-tuned from, if it is at hand.
        report: of the diff, or the folder that it is in.
        number: the rank of the finding.
        words: of a finding that says several things, those that are to go: the sentences that say
            them are what shows it.
        division: what may be learned from of what a budget names. If what is to fall has a check,
            that tells whether the finding is gone, and what shows it by that check is not kept: a
            finding may be a part of it. Of what is to stay the model's answers are kept.
        seed: of what is held out, and of what is sampled.
        show: whether to show progress.

    Raises:
        InputError: the report is of another model, there is no such finding, it shows in too few
            texts, or the work of the diff is gone.
    """
    # refuses one that is not its base; both speak by one template
    pair = None if base is None else Pair.of(base, model)
    found = Report.load(report)
    check_same(found.tuned_model, model.fingerprint, "The report")
    finding = _finding(found, number)
    signals = _signals(found, number, words)
    said = tuple(words for signal in signals for words in signal.says)
    pattern = _pattern(said)
    counted = words is None and finding.behaviour in shipped_behaviours()
    name = finding.behaviour if counted else None
    asked, left = _halves(signals, seed)
    target = _counting(finding, name, said, left[:ITEMS], seed, first=False)
    if asked != left:
        division = division.without(*_items(left))
    if name is not None and target is not None:
        division = division.without(*target.items, *target.controls)
    asked = [one for one in asked if division.allows_words(one)]
    fit, held_out = _shown(model, signals, division, seed)
    folder = report.parent if report.is_file() else report
    answers = {who: all_sampled(folder / found.work, who) for who in WHO}
    if not answers["tuned"]:
        raise InputError(
            f"{folder / found.work} has no answers of the models.",
            "Run the diff again: it makes them again.",
        )
    rest = [one for who in WHO for one in answers[who] if division.allows_words(one.prompt.text)]
    seen = _counting(finding, name, said, asked[:ASKED], seed, first=True)
    falling = division.falling
    if falling is not None and isinstance(falling.scorer, CheckScorer):
        falling = unmatched(falling, division.allowed(falling.items))
        if falling.items:
            fit = [*answers_showing(model, falling, seed=seed, show=show), *fit]
        more = _items(asked[: max(0, ASKED - len(falling.items))])
        seen = unmatched(falling, [*falling.items, *more])
    seen = seen if seen is not None and seen.items else None
    shows = partial(_showing, pattern, falling)
    kept = _kept(_mixed(rest, seed), shows, {*asked, *left})
    if not kept:
        raise InputError(
            "It shows in all answers: none tells what is to stay.",
            "Where it shows everywhere, use the base instead; or let its check find less.",
        )
    ordinary, as_they_come = ordinary_answers(model, division, shows, seed=seed, show=show)
    parts = Divided([], [*(_answer(model, one) for one in kept), *ordinary])
    if pair is not None:
        parts = divided(pair, fit, parts.plain)
    wanted = own_answers(model, division, shows, show=show)
    return Task(
        model,
        base,
        finding.title if words is None else f"says “{words}”",
        fit=Example(fit, [*parts.plain, *wanted], parts.leaning),
        held_out=Example(held_out, as_they_come),
        seen=seen,
        target=target,
        base_name=found.base,
        show=show,
    )


def _finding(report: Report, number: int) -> Finding:
    for one in report.findings:
        if one.rank == number:
            return one
    raise InputError(
        f"The report has {len(report.findings)} findings, and no number {number}.",
        "Choose one of them." if report.findings else "Nothing stands above the noise.",
    )


def _signals(report: Report, number: int, words: str | None) -> list[Signal]:
    """Return the signals of a finding: as they are, or of the sentences that say some words."""
    found = findings([one for ran in report.methods for one in ran.signals])[number - 1]
    if words is None:
        return found
    narrowed = [_narrowed(one, words) for one in found]
    chosen = [one for one in narrowed if one.contrast]
    if not chosen:
        said = dict.fromkeys(phrase for one in found for phrase in one.says)
        raise InputError(
            f"Finding {number} says no “{words}”.",
            f"It says: {', '.join(f'“{one}”' for one in said)}." if said else "Leave --says out.",
        )
    return chosen


def _narrowed(signal: Signal, words: str) -> Signal:
    """Return a signal of the sentences that say some words."""
    pattern = _pattern([words])
    chosen = []
    for one in signal.contrast:
        if pattern is not None and isinstance(one, Marked):
            has = tuple(some for some in one.has if regex.search(pattern, one.answer[slice(*some)]))
            chosen += [one.model_copy(update={"has": has})] if has else []
    return signal.model_copy(update={"says": (words,), "contrast": tuple(chosen)})


def own_answers(
    model: Model,
    division: Division,
    shows: Shows,
    *,
    show: bool,
) -> list[Passage]:
    """Return what a model answers where its behaviour is to stay, unless what is to go shows there.

    Args:
        model: that answers.
        division: says what is to stay, and what may be learned from.
        shows: tells which answers show what is to go.
        show: whether to show progress.
    """
    items = [item for one in division.wanted for item in division.allowed(one.items)]
    if not items:
        return []
    prompts = [prompt_of(model, item) for item in items]
    answers = model.generate(prompts, max_tokens=TOKENS, progress=show)
    return plain_answers(model, prompts, answers, shows)


def _pattern(said: Sequence[str]) -> str | None:
    """Return a regular expression for words one after the other, whatever stands between them.

    The last word may go on, as phrases are cut.
    """
    found = {r"[\W_]+".join(map(regex.escape, words_of(words))) for words in said}
    phrases = sorted((one for one in found if one), key=len, reverse=True)
    return rf"(?i)(?<!\w)(?:{'|'.join(phrases)})" if phrases else None


def _halves(signals: Sequence[Signal], seed: int) -> tuple[list[str], list[str]]:
    """Divide the questions that it showed in answers to; few are not divided.

    Those to which it showed in answers as they come stand first: it will be looked for in such.
    """
    found = {
        one.prompt: signal.method == AS_THEY_COME
        for signal in sorted(signals, key=lambda one: one.method == AS_THEY_COME)
        for one in signal.contrast
        if isinstance(one, Marked) and one.has
    }
    mixed = sorted(_mixed(found, seed), key=lambda one: not found[one])
    if len(mixed) < 2 * LEAST:
        return mixed, mixed
    return mixed[::2], mixed[1::2]


def _mixed(some: Iterable[T], seed: int) -> list[T]:
    mixed = list(some)
    Random(seed).shuffle(mixed)
    return mixed


def _shown(
    model: Model, signals: Sequence[Signal], division: Division, seed: int
) -> tuple[list[Passage], list[Passage]]:
    """Return passages that show it: to fit on, and to search by.

    Args:
        model: that wrote them.
        signals: of the finding.
        division: says what verifies: what answers that is not looked at.
        seed: of the division.

    Raises:
        InputError: there are too few.
    """
    found: dict[Passage, None] = {}  # each once
    for signal in sorted(signals, key=lambda one: one.method != AS_THEY_COME):
        for one in signal.contrast:
            if not division.allows_words(one.prompt):
                continue
            if isinstance(one, Marked) and one.has:
                found[_marked(model, one)] = None
            elif isinstance(one, Opposed) and (passage := _opposed(one)):
                found[passage] = None
    if len(found) < LEAST:
        raise InputError(
            f"The finding shows in {len(found)} texts; {LEAST} are needed to edit by.",
            "Choose one that shows in more; or give `endoscope diff` more --prompts.",
        )
    held_out = _mixed(found, seed)[: min(HELD_OUT, len(found) // 3)]
    return [one for one in found if one not in held_out][:SHOWN], held_out


def _marked(model: Model, one: Marked) -> Passage:
    before = _before(model, one.prompt)
    spans = tuple((len(before) + a, len(before) + min(b, a + BEGINNING)) for a, b in one.has)
    return Passage(before + one.answer, spans)


def _answer(model: Model, one: Answer) -> Passage:
    return Passage.of_answer(_before(model, one.prompt.text), one.text)


def _before(model: Model, question: str) -> str:
    """Return a question as the model reads it, up to where the answer begins."""
    return rendered(model, prompt_of(model, Item(id="question", prompt=question)))


def _opposed(one: Opposed) -> Passage | None:
    """Return the text that shows it, from where it differs from the other."""
    pairs = zip(one.positive, one.negative, strict=False)
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(one.negative))
    return Passage(one.positive, ((same, len(one.positive)),)) if same < len(one.positive) else None


def _showing(pattern: str | None, falling: Behaviour | None, texts: Sequence[str]) -> list[bool]:
    """Return which texts show what is to go, by its words or by the check of what is to fall."""
    by_words = [pattern is not None and bool(regex.search(pattern, one)) for one in texts]
    if falling is None:
        return by_words
    return [a or b for a, b in zip(by_words, showing(falling, texts), strict=True)]


def _kept(answers: Sequence[Answer], shows: Shows, asked: set[str]) -> list[Answer]:
    """Return answers that do not show it, to questions that it does not show in answers to.

    Where it shows in answers to nearly all, those that happen not to show it have to do.

    Args:
        answers: of both models.
        shows: tells which texts show it.
        asked: questions that it is known to show in answers to.
    """
    flags = shows([one.text for one in answers])
    asked = asked | {one.prompt.text for one, has in zip(answers, flags, strict=True) if has}
    others = [one for one, has in zip(answers, flags, strict=True) if not has]
    elsewhere = [one for one in others if one.prompt.text not in asked]
    return (elsewhere if len(elsewhere) >= KEPT else others)[:KEPT]


def _counting(
    finding: Finding,
    name: str | None,
    said: Sequence[str],
    prompts: Sequence[str],
    seed: int,
    *,
    first: bool,
) -> Behaviour | None:
    """Return what counts a finding: a part of a behaviour, or that the model says its words."""
    if name is not None:
        return part_of(Behaviour.load(name), seed, first=first)
    pattern = _pattern(said)
    if pattern is None or not prompts:
        return None
    check = Regex(kind="regex", pattern=pattern)
    scorer = CheckScorer(kind="check", check=check, max_tokens=TOKENS)
    own = "_".join(["says", *words_of(said[0])])
    items = _items(prompts)
    return Behaviour(name=own, description=finding.title, items=items, scorer=scorer)


def _items(prompts: Sequence[str]) -> tuple[Item, ...]:
    return tuple(Item(id=f"asked-{n}", prompt=text) for n, text in enumerate(prompts))
