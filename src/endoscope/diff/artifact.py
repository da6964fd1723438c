"""The direction that captures a finding."""

import json
from collections.abc import Sequence
from pathlib import Path

from endoscope.artifacts import atomic_file
from endoscope.diff.pair import Pair
from endoscope.diff.signal import Signal
from endoscope.directions import ContrastingTexts, Direction
from endoscope.errors import InputError

AMPLIFIED = "amplification"  # the method
DEPTH = 0.6  # of the layers: where the direction is read
LEAST = 8  # pairs to fit on and measure with


def save_direction(
    pair: Pair, signals: Sequence[Signal], title: str, folder: Path, seed: int
) -> Path | None:
    """Fit the direction of a finding on what shows it, and save it with its evidence.

    The texts are kept beside it, so that the command on its card makes it again.

    Args:
        pair: both models; the tuned one is read.
        signals: of the finding, the strongest first.
        title: of the finding.
        folder: for the direction.
        seed: of what is held out.

    Returns:
        The folder; None where too few texts show the finding.
    """
    file = folder.with_name(f"{folder.name}.pairs.jsonl")
    site = f"resid_post.{int(DEPTH * pair.tuned.n_layers)}"
    # Amplified answers differ from ordinary ones in more than what was planted: they come last.
    for signal in sorted(signals, key=lambda one: one.method == AMPLIFIED):
        if len(signal.contrast) < LEAST:
            continue
        _write(signal, file)
        try:
            source = ContrastingTexts.read_file(file)
            direction = Direction.fit(pair.tuned, source, site=site, name=title, seed=seed)
        except InputError:  # what a model wrote can be anything, two equal texts among it
            file.unlink()
            continue
        direction.save(folder)
        return folder
    return None


def _write(signal: Signal, file: Path) -> None:
    rows = (
        {"id": str(number), "positive": has, "negative": lacks}
        for number, (has, lacks) in enumerate(signal.contrast)
    )
    with atomic_file(file) as temporary:
        temporary.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
