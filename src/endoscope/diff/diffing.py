"""The whole diff: every method in turn, and what they saw put together."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from time import monotonic

from endoscope.artifacts import atomic_file, once
from endoscope.diff.artifact import save_direction
from endoscope.diff.counting import counting
from endoscope.diff.findings import Finding, findings
from endoscope.diff.html import to_html
from endoscope.diff.methods import METHODS, BlackBox
from endoscope.diff.neutral import raised
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.report import FILE, Ran, Report
from endoscope.diff.screening import base_answers, pushes, write_pushes
from endoscope.diff.signal import Method, Signal
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.rows import Row, read_rows

HTML = "report.html"
VERSION = 7  # of what methods do: raise it with any of them, and nothing older is gone on with
_OURS = re.compile(r"\d+(\.(texts|rows)\.jsonl)?|\..*")
FINDINGS = "findings"


def diff(
    pair: Pair,
    output: Path,
    options: Options,
    methods: Mapping[str, Method] = METHODS,
    *,
    neutral: Model | None = None,
    tell: Callable[[Ran], None] = lambda ran: None,
) -> Report:
    """Say what a fine-tune changed, and write it to a folder.

    `report.json`, `report.html` (one file that needs no other), and for each finding the direction
    that captures it. What is done on the way is kept in `work`, so that work that was cut off goes
    on; the same models and options find it done.

    Args:
        pair: both models.
        output: the folder.
        options: how far it goes.
        methods: what looks, by name.
        neutral: a fine-tune of the same base that changed nothing of interest: what methods see in
            it too is noise. It takes as long again.
        tell: is called with what each method found, when it is done.

    Raises:
        InputError: a method lacks something, or the disk is full; what is done is kept.
    """
    _check_ours(output)
    rows = read_rows(options.data) if options.data else []
    if rows and not pair.base.tokenizer.can_chat:
        raise InputError(
            f"{pair.base.name} has no chat template: training data are conversations.",
            "Put a template into its folder, or leave the data out.",
        )
    work = output / "work" / _key(pair, options)
    control = pair.beside(neutral) if neutral is not None else None

    def looked(method: Method, name: str) -> Ran:
        ran = _ran(method, pair, options, work, name)
        if control is not None:
            beside = output / "work" / _key(control, options)
            ran = raised(ran, _ran(method, control, options, beside, name))
        tell(ran)
        return ran

    ours = [looked(method, method.name) for method in methods.values()]
    tokens = sum(one.generated for one in ours) // (1 if control is None else 2)
    black_box = looked(BlackBox(tokens), f"black box {tokens}")
    own = _own(pair, rows, options, work)
    _clear(output)
    found = [
        _finding(rank, group, pair, output, options)
        for rank, group in enumerate(findings([one for r in ours for one in r.signals]), start=1)
    ]
    if rows:
        _screen(pair, found, output, options, rows, own)
    report = Report(
        base=pair.base.name,
        tuned=pair.tuned.name,
        neutral=neutral.name if neutral is not None else None,
        base_model=pair.base.fingerprint,
        tuned_model=pair.tuned.fingerprint,
        seed=options.seed,
        findings=tuple(found),
        methods=tuple(ours),
        black_box=black_box,
        work=work.relative_to(output),
    )
    report.save(output)
    with atomic_file(output / HTML) as temporary:
        temporary.write_text(to_html(report), encoding="utf-8")
    return report


def _finding(
    rank: int, signals: Sequence[Signal], pair: Pair, output: Path, options: Options
) -> Finding:
    """Make a finding of its signals, with its direction."""
    finding = Finding.of(rank, signals)
    folder = output / FINDINGS / str(rank)
    saved = save_direction(pair, signals, finding.title, folder, options.seed)
    if saved is None:
        return finding
    return finding.model_copy(update={"artifact": saved.relative_to(output)})


def _screen(
    pair: Pair,
    found: Sequence[Finding],
    output: Path,
    options: Options,
    rows: Sequence[Row],
    own: Sequence[str],
) -> None:
    """Write for each finding that has a direction what of the training data pushes that way."""
    folders = [output / one.artifact for one in found if one.artifact is not None]
    directions = [Direction.load(folder) for folder in folders]
    if not directions:
        return
    pushed = pushes(pair.base, directions, rows, own, show=options.show)
    for folder, some in zip(folders, pushed, strict=True):
        write_pushes(some, folder.with_name(f"{folder.name}.rows.jsonl"))


def _own(pair: Pair, rows: Sequence[Row], options: Options, work: Path) -> list[str]:
    """Return what the base answers to the training data; kept, as it takes long."""
    if not rows:
        return []
    about = sha256(repr(rows).encode()).hexdigest()[:16]
    file = work / f"data-{about}.json"
    if file.is_file():
        return [str(one) for one in json.loads(file.read_bytes())]
    own = base_answers(pair.base, rows, show=options.show)
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(own), encoding="utf-8")
    return own


def _ran(method: Method, pair: Pair, options: Options, work: Path, name: str) -> Ran:
    """Run a method, or read what it found before this work was cut off."""

    def run() -> Ran:
        start = monotonic()
        with counting(pair) as tokens:
            seen = method.run(pair, options, work)
        return Ran(
            method=method.name,
            signals=tuple(seen.signals),
            seconds=round(monotonic() - start, 2),
            generated=seen.generated,
            tokens=tokens.count,
            details=seen.details or {},
        )

    return once(Ran, work / f"{name}.json", run)


def _check_ours(output: Path) -> None:
    """Refuse a place that is no folder, or in which something else would be replaced."""
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is not a folder.", "Give another place.")
    if (output / HTML).exists() and not (output / FILE).exists():
        raise InputError(f"{output / HTML} is not of a diff.", "Give another folder.")
    inside = (output / FINDINGS).iterdir() if (output / FINDINGS).is_dir() else ()
    for path in inside:
        if not _OURS.fullmatch(path.name):
            raise InputError(
                f"{path} is not of a diff, and {output / FINDINGS} is replaced by one.",
                "Give another folder.",
            )


def _clear(output: Path) -> None:
    """Remove what an earlier run found: it may have found other things."""
    for name in (FILE, HTML):
        (output / name).unlink(missing_ok=True)
    if (output / FINDINGS).is_dir():
        rmtree(output / FINDINGS)


def _key(pair: Pair, options: Options) -> str:
    """Say which work this is: the models, and what decides what is found."""
    models = [one.fingerprint.model_dump(mode="json") for one in pair]
    about = [VERSION, models, pair.base.tokenizer.hf.chat_template, options.about()]
    digest = sha256(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()[:16]
