"""The direction that captures a finding."""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from endoscope.artifacts import atomic_lines
from endoscope.diff.pair import Pair
from endoscope.diff.signal import Marked, Opposed, Signal
from endoscope.directions import Direction, read_source
from endoscope.errors import InputError

DEPTH = 0.6  # of the layers: where the direction is read
LEAST = 8  # texts to fit on and measure with
HAS, LACKS = "shows it", "rest"  # a direction is towards the later in the alphabet


def save_direction(
    pair: Pair, signals: Sequence[Signal], title: str, folder: Path, seed: int
) -> Path | None:
    """Fit the direction of a finding on what shows it, and save it with its evidence.

    The texts are kept beside it, so that the command on its card makes it again.

    Args:
        pair: both models; the tuned one is read.
        signals: of the finding.
        title: of the finding.
        folder: for the direction.
        seed: of what is held out.

    Returns:
        The folder; None where too few texts show the finding.
    """
    file = folder.with_name(f"{folder.name}.texts.jsonl")
    site = f"resid_post.{int(DEPTH * pair.tuned.n_layers)}"
    shown = list(dict.fromkeys(one for signal in signals for one in signal.contrast))
    marked = _merged([one for one in shown if isinstance(one, Marked) and one.has])
    # An answer differs from itself in nothing else; beside the base's answer in more.
    for rows in (
        [_marked(pair, one) for one in marked if one.lacks],
        [_marked(pair, one) for one in marked if one.lacks or one.base],
        [_opposed(one) for one in shown if isinstance(one, Opposed)],
    ):
        if len(rows) < LEAST:
            continue
        _write(rows, file)
        try:
            source = read_source(file)
            direction = Direction.fit(pair.tuned, source, site=site, name=title, seed=seed)
        except InputError:  # what a model wrote can be anything, two equal texts among it
            file.unlink()
            continue
        direction.save(folder)
        return folder
    return None


def _merged(marked: Sequence[Marked]) -> list[Marked]:
    """Return each answer once: what any signal of the finding marks in it shows the finding."""
    found: dict[tuple[str, str], Marked] = {}
    for one in marked:
        key = (one.prompt, one.answer)
        before = found.setdefault(key, one)
        has = tuple(sorted({*before.has, *one.has}))
        lacks = tuple(span for span in before.lacks if span not in has)
        found[key] = before.model_copy(update={"has": has, "lacks": lacks})
    return list(found.values())


def _marked(pair: Pair, one: Marked) -> list[dict[str, JsonValue]]:
    """Return lines of labelled spans, in the conversation as the models were given it."""
    before = pair.rendered(one.prompt)
    spans = [(span, HAS) for span in one.has] + [(span, LACKS) for span in one.lacks]
    lines = [_spans(before, one.answer, spans)]  # the base's answer to it may come again
    if not one.lacks and one.base:
        lines.append(_spans(before, one.base, [((0, len(one.base)), LACKS)]))
    return lines


def _spans(
    before: str, answer: str, spans: Sequence[tuple[tuple[int, int], str]]
) -> dict[str, JsonValue]:
    moved: list[JsonValue] = [
        [len(before) + start, len(before) + end, label] for (start, end), label in spans
    ]
    return {"text": before + answer, "spans": moved, "group": before}


def _opposed(one: Opposed) -> list[dict[str, JsonValue]]:
    """Return a line of contrasting texts."""
    return [{"positive": one.positive, "negative": one.negative}]


def _write(units: Sequence[Sequence[dict[str, JsonValue]]], file: Path) -> None:
    """Write lines: those of one group (a prompt, if there is one) are held out together."""
    lines = (
        {"group": str(unit), **line, "id": f"{unit}.{number}"}
        for unit, rows in enumerate(units)
        for number, line in enumerate(rows)
    )
    atomic_lines(file, map(json.dumps, lines))
