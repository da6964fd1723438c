"""What the stream holds just before something shows, and before all else: for methods at sites."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from endoscope.edit.passage import Passage
from endoscope.edit.task import Task
from endoscope.engine import Model
from endoscope.models import Site

AT_ONCE = 8  # passages


class Contrasted(NamedTuple):
    """Activations at one site, float64.

    Attributes:
        shown: of the tokens after which it begins, `[passages, d_model]`.
        kept: of tokens within what is kept: the first and the middle of each, `[rows, d_model]`.
    """

    shown: Tensor
    kept: Tensor

    @property
    def difference(self) -> Tensor:
        """The mean of what shows it less that of all else, `[d_model]`."""
        return self.shown.mean(0) - self.kept.mean(0)


def contrasted(task: Task, sites: Sequence[Site]) -> dict[Site, Contrasted]:
    """Return what a task's model holds at sites where it shows, and elsewhere."""
    shown = [_until(one, 0.0) for one in task.fit.acting]
    kept = [_until(one, part) for one in task.fit.kept for part in (0.0, 0.5)]
    before, beside = (_last_rows(task.model, texts, sites) for texts in (shown, kept))
    return {site: Contrasted(before[site], beside[site]) for site in sites}


def _until(passage: Passage, part: float) -> str:
    """Return a text up to some part of what counts in it, and one character of that."""
    start, end = passage.spans[0]
    return passage.text[: start + int(part * (end - start)) + 1]


def _last_rows(model: Model, texts: Sequence[str], sites: Sequence[Site]) -> Mapping[Site, Tensor]:
    """Return what stands at the token before the last one of each text, `[texts, d_model]`."""
    found: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for first in range(0, len(texts), AT_ONCE):
        read = model.capture(texts[first : first + AT_ONCE], sites)
        last = torch.bincount(read.documents).cumsum(0) - 2
        for site in sites:
            found[site].append(read[site][last].double().cpu())
    return {site: torch.cat(rows) for site, rows in found.items()}
