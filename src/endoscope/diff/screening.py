"""Which samples of training data push a model along a direction."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.artifacts import atomic_lines
from endoscope.diff.sentences import sentences
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.models import Site
from endoscope.progress import progress
from endoscope.rows import Row

OWN_TOKENS = 48  # of the model's own answers
AT_ONCE = 64  # samples whose activations are held
SHRINKAGE = 0.5  # of the spread, towards one that is the same in every direction


class Push(NamedTuple):
    """How far a sample pushes along a direction.

    Attributes:
        row: the sample.
        difference: of the projections of the sentence of its answer that goes farthest and of the
            model's own answer to its prompt, in standard deviations of sentences of its own; None
            where the model itself answers nothing.
    """

    row: Row
    difference: float | None


class _Answer(NamedTuple):
    """An answer as a model reads it.

    Attributes:
        text: of it.
        values: at each site, `[tokens, d_model]`, float32.
        offsets: of its tokens, in its text, `[tokens, 2]`.
    """

    text: str
    values: Mapping[Site, Tensor]
    offsets: Tensor

    def mean(self, site: Site) -> Tensor:
        """Return the mean of its tokens, `[d_model]`; zeros where it has none."""
        values = self.values[site]
        return values.mean(0) if len(values) else values.new_zeros(values.shape[1])

    def sentences(self, site: Site) -> Tensor:
        """Return the means of its sentences, `[sentences, d_model]`.

        A number alone is no sentence; where there is none, the answer is one.
        """
        means = [
            self.values[site][inside].mean(0)
            for start, end in sentences(self.text)
            if any(letter.isalpha() for letter in self.text[start:end])
            and (inside := (self.offsets[:, 0] < end) & (self.offsets[:, 1] > start)).any()
        ]
        return torch.stack(means) if means else self.mean(site)[None]


class _Own(NamedTuple):
    """What a model's own answers are like at a site.

    Attributes:
        means: of each answer, `[rows, d_model]`.
        spread: covariance of the means of their sentences, `[d_model, d_model]`, float64.
    """

    means: Tensor
    spread: Tensor


def base_answers(model: Model, rows: Sequence[Row], *, show: bool = False) -> list[str]:
    """Return what a model itself answers to the prompts of samples, most probable tokens first."""
    return model.generate([one.prompt for one in rows], max_tokens=OWN_TOKENS, progress=show)


def pushes(
    model: Model,
    directions: Sequence[Direction],
    rows: Sequence[Row],
    own: Sequence[str],
    *,
    show: bool = False,
) -> list[list[Push]]:
    """Return how far each sample pushes a model along each direction, farthest first.

    What counts is the projection difference: the mean activation of the sentence of a sample's
    answer that goes farthest along the direction, less that of the model's own answer to the same
    prompt. (Chen et al. 2025, "Persona vectors", take the mean of the whole answer; in that a
    planted sentence is lost among others.) The projection is Fisher's discriminant: what sentences
    of the model's own answers differ in anyway counts for less.

    Args:
        model: that is to be trained on them, as it is before.
        directions: at sites of the model, of one vector each; the data are read once for all.
        rows: the samples.
        own: what the model itself answers to each.
        show: whether to show progress.

    Returns:
        For each direction the samples in their order.
    """
    before = [model.tokenizer.chat(one.prompt, reply=True) for one in rows]
    sites = list(dict.fromkeys(one.site for one in directions))
    ours = _own(model, sites, before, own, show)
    axes = [_discriminant(one.vector, ours[one.site].spread) for one in directions]
    theirs: list[list[float]] = [[] for _ in directions]
    for read in _read(model, sites, before, [one.answer for one in rows], show):
        for direction, axis, figures in zip(directions, axes, theirs, strict=True):
            figures.append(float((read.sentences(direction.site) @ axis).max()))
    found = []
    for direction, axis, its in zip(directions, axes, theirs, strict=True):
        mine = (ours[direction.site].means @ axis).tolist()
        some = [
            Push(row, pushed - itself if answer.strip() else None)
            for row, pushed, itself, answer in zip(rows, its, mine, own, strict=True)
        ]
        found.append(sorted(some, key=_place))
    return found


def _place(push: Push) -> tuple[bool, float]:
    """Return what pushes are sorted by: those of which nothing is known come last."""
    return (push.difference is None, -(push.difference or 0.0))


def _own(
    model: Model, sites: Sequence[Site], before: Sequence[str], own: Sequence[str], show: bool
) -> Mapping[Site, _Own]:
    """Read the model's own answers."""
    means: dict[Site, list[Tensor]] = {site: [] for site in sites}
    parts: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for read in _read(model, sites, before, own, show):
        for site in sites:
            means[site].append(read.mean(site))
            parts[site].append(read.sentences(site))
    return {
        site: _Own(torch.stack(means[site]), torch.cat(parts[site]).double().T.cov(correction=0))
        for site in sites
    }


def _discriminant(vector: Tensor, spread: Tensor) -> Tensor:
    """Return what to multiply by, `[d_model]`: a unit is a standard deviation along it.

    Fisher (1936), with a spread that is shrunk (Friedman 1989), as there are few sentences.
    """
    size = float(spread.diagonal().mean())
    vector = vector.double().cpu()
    if size == 0:  # one sentence, or always the same
        return vector.float()
    shrunk = (1 - SHRINKAGE) * spread + SHRINKAGE * size * torch.eye(len(spread)).double()
    axis: Tensor = torch.linalg.solve(shrunk, vector)
    return axis.div((axis @ shrunk @ axis).sqrt()).float()


def _read(
    model: Model, sites: Sequence[Site], before: Sequence[str], answers: Sequence[str], show: bool
) -> Iterator[_Answer]:
    """Yield answers as the model reads them after what comes before each."""
    texts = list(zip(before, answers, strict=True))
    with progress("Reading data", len(texts), show=show) as advance:
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            read = model.capture([a + b for a, b in some], sites)
            values = {site: read[site].float().cpu() for site in sites}
            for number, (start, answer) in enumerate(some):
                rows = read.rows(number)
                offsets = read.offsets[rows].cpu() - len(start)
                inside = offsets[:, 1] > 0
                its = {site: value[rows][inside] for site, value in values.items()}
                yield _Answer(answer, its, offsets[inside])
            advance(len(some))


def write_pushes(found: Sequence[Push], path: Path) -> None:
    """Write samples, farthest first: `{"line": ..., "push": ...}`."""
    lines = ({"line": one.row.line, "push": one.difference} for one in found)
    atomic_lines(path, map(json.dumps, lines))
