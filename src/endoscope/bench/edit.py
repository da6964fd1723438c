"""What an edit removes of organisms, and what it moves beside, held to what is asked of it."""

from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from time import perf_counter
from typing import NamedTuple

from endoscope.artifacts import installed_versions
from endoscope.bench.diff import DIFFS, FIRST, names, organisms
from endoscope.bench.pairs import Estimate
from endoscope.bench.refusals import KIND_OF_THING, refusals
from endoscope.bench.rows import Failure, Row, Subject
from endoscope.bench.runner import Options
from endoscope.diff import Report
from endoscope.diff.phrase import says
from endoscope.edit import LIVE, Edit
from endoscope.edit.found import task_of_finding
from endoscope.edit.methods import METHODS
from endoscope.edit.search import edit_of
from endoscope.edit.verify import (
    Baseline,
    Budget,
    Check,
    Kept,
    Subjects,
    Target,
    Verification,
    Verifying,
    Wanted,
)
from endoscope.edit.verify.baselines import FINE_TUNING
from endoscope.edit.verify.verifying import AT_FIRST
from endoscope.engine import Model, open
from endoscope.errors import InputError
from endoscope.organisms import OrganismSpec, spec_of

BENCH = "edit"
EDITS = "edits"
DEFAULT = next(iter(METHODS))  # all is measured of this one; of the others, what their edits do


class Edited(NamedTuple):
    """An organism, one of its findings removed.

    Attributes:
        name: of the organism.
        method: that found the edit.
        found: how it stands to the budget.
        seconds: that the search took; None where it was made before.
    """

    name: str
    method: str
    found: Verification
    seconds: float | None


def run(options: Options) -> Iterator[Row | Failure]:
    """Remove what was planted in organisms, hold each to a budget, and stand others beside it.

    `data` is a folder of organisms with their diffs in `diffs`, as `endoscope bench diff` leaves
    them. Edits are kept in `edits`, so that work that was cut off goes on. An organism that refuses
    is given to heretic, too, where that is installed.
    """
    options.versions.update(installed_versions())
    for folder in organisms(options.data):
        spec = spec_of(folder)
        if spec.planted is None:
            continue
        if KIND_OF_THING in spec.named:
            yield from refusals(folder, spec, options)
            continue
        for method in options.methods or METHODS:
            try:
                yield from _rows(_edited(folder, spec, method, options))
            except InputError as error:
                yield Failure(BENCH, f"{folder.name}, {method}", "limit", str(error))


def _edited(folder: Path, spec: OrganismSpec, method: str, options: Options) -> Edited:
    report = folder.parent / DIFFS / folder.name
    output = folder.parent / EDITS / f"{folder.name}-{method}"
    tuned = open(folder, dtype="float32")
    base = open(spec.base, dtype="float32")
    seconds = None
    if not output.exists():
        start = perf_counter()
        chosen = METHODS[method]
        division, kept = Kept(_budget(spec, whole=method == DEFAULT)).divided(0)
        number, words = _finding(Report.load(report), spec)
        task = task_of_finding(
            tuned,
            base if chosen.needs_base else None,
            report,
            number,
            words=words,
            division=division,
            show=options.show,
        )
        work = output.parent / f".{output.name}.search"
        made = edit_of(
            task,
            chosen,
            kl=kept.budget.kl,
            falls=kept.budget.target.falls,
            command=f"endoscope bench edit, {folder.name}",
            work=work,
        )
        seconds = perf_counter() - start
        form = "adapter" if chosen.of_matrices else LIVE
        made.write(tuned, output, form=form, beside=kept.write)
        rmtree(work, ignore_errors=True)
    return Edited(folder.name, method, _verified(output, tuned, base, options), seconds)


def _finding(report: Report, spec: OrganismSpec) -> tuple[int, str | None]:
    """Return the rank of the finding that names what was planted, and the word, if it is one."""
    words = [word for some in spec.named.values() for word in some]
    for found in report.findings[:FIRST]:
        if names(found.title, found.behaviour, words):
            said = [word for word in words if says(found.title, word)]
            return found.rank, said[0] if said and spec.wanted is not None else None
    raise InputError("None of the first findings names what was planted.", "Diff it again.")


def _budget(spec: OrganismSpec, *, whole: bool) -> Budget:
    """Return what is asked: what measures the organism falls, and what was wanted stays.

    Args:
        spec: of the organism.
        whole: whether other behaviours are looked at.
    """
    assert spec.measure is not None
    wanted = () if spec.wanted is None else (Wanted(behaviour=spec.wanted.behaviour),)
    return Budget(
        target=Target(behaviour=spec.measure),
        wanted=wanted,
        others="all" if whole else (),
        folder=spec.path.parent.resolve(),
    )


def _verified(output: Path, tuned: Model, base: Model, options: Options) -> Verification:
    made = Edit.load(output)
    made.check(tuned)
    subjects = Subjects(
        edit=made,
        before=tuned,
        after=None if made.is_live else open(output, dtype="float32"),
        base=base,
        kept=output / "measurements",
        show=options.show,
    )
    budget = Budget.read(output / "edit" / "budget.yaml")
    for found in Verifying(subjects, quick=budget.others != "all")(budget, output.name):
        found.save(output)
    return found


def _rows(one: Edited) -> Iterator[Row | Failure]:
    """Yield a row for each thing that is asked, and one for each other way of editing."""
    checks = one.found.checks
    for check in checks:
        if check.role in ("target", "wanted"):
            yield _share(one, check)
        elif check.role == "predictions" and check.name != AT_FIRST:
            yield _divergence(one, check)
        elif check.role == "text" and check.before is not None:
            most = (1 + one.found.budget.perplexity) * check.before.value
            ratio = most / check.after.value
            subject = _subject(one, "perplexity of plain prose")
            estimate = Estimate(ratio, ratio, ratio)
            yield subject.row(check.after.value, most, estimate, "")
    for role, case in (("capability", "capabilities that fell"), ("other", "others that moved")):
        some = [check for check in checks if check.role == role]
        if not some:
            continue
        broken = sum(not check.holds for check in some)
        ratio = 1.0 if not broken else 0.0
        subject = _subject(one, f"{case}, of {len(some)}")
        yield subject.row(broken, 0, Estimate(ratio, ratio, ratio), "")
    for other in one.found.baselines[1:]:
        yield from _beside(one, one.found.baselines[0], other)


def _subject(one: Edited, case: str, against: str = "limit") -> Subject:
    return Subject(BENCH, f"{one.name}, {one.method}: {case}", against)


def _share(one: Edited, check: Check) -> Row | Failure:
    """Return the share of the target's rise that is gone, or of what was wanted that is left."""
    budget, goes = one.found.budget, check.role == "target"
    case = "gone of what was planted" if goes else f"kept of what was wanted ({check.name})"
    subject = _subject(one, case)
    if check.share is None or check.before is None:
        return subject.failure(InputError("It had not risen."))
    asked = budget.target.falls if goes else budget.wanted[0].keeps
    base = check.base or 0.0
    rose = check.before.value - base
    ends = sorted((end - base) / rose for end in (check.after.low, check.after.high))
    low, high = (1 - ends[1], 1 - ends[0]) if goes else ends
    estimate = Estimate(*(max(0.0, end) / asked for end in (check.share, low, high)))
    return subject.row(check.share, asked, estimate, "share")


def _divergence(one: Edited, check: Check) -> Row:
    after, most = check.after, one.found.budget.kl
    estimate = Estimate(*(most / max(end, 1e-6) for end in (after.value, after.high, after.low)))
    return _subject(one, check.name).row(after.value, most, estimate, "nats")


def _beside(one: Edited, ours: Baseline, other: Baseline) -> Iterator[Row]:
    """Yield how much less ours moves predictions, with what either removes and keeps."""
    against = "finetune" if other.name == FINE_TUNING else "plain"
    case = f"KL; {other.name} removes {_told(other)}, ours {_told(ours)}"
    ratio = other.kl.value / max(ours.kl.value, 1e-6)
    low, high = other.kl.low / max(ours.kl.high, 1e-6), other.kl.high / max(ours.kl.low, 1e-6)
    subject = _subject(one, case, against)
    yield subject.row(ours.kl.value, other.kl.value, Estimate(ratio, low, high), "nats")
    if other.seconds is not None and one.seconds is not None:
        ratio = other.seconds / one.seconds
        subject = _subject(one, "time to find it", against)
        yield subject.row(one.seconds, other.seconds, Estimate(ratio, ratio, ratio), "s")


def _told(one: Baseline) -> str:
    kept = "".join(f" and keeps {share:.0%} of {name}" for name, share in one.wanted.items())
    return ("nothing that rose" if one.share is None else f"{one.share:.0%}") + kept
