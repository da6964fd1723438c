"""What other ways of editing would have done, beside the edit itself."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from endoscope.behaviours import Behaviour, Figure, Item, mean_figure, shipped_prompts
from endoscope.diff import Pair
from endoscope.diff.deltas import named_deltas
from endoscope.edit.changes import Change
from endoscope.edit.edit import Edit
from endoscope.edit.methods.scaling import scaled
from endoscope.edit.ordinary import TOKENS
from endoscope.edit.parts import Parts, running
from endoscope.edit.trying import Runs
from endoscope.edit.verify.neutral import Neutral
from endoscope.edit.verify.rise import Rise, rise, rise_after
from endoscope.edit.verify.subjects import Subjects
from endoscope.edit.verify.training import fine_tuned, halves, rows_of
from endoscope.edit.verify.verification import Baseline
from endoscope.interventions import Intervention
from endoscope.rows import Row

SHARES = (0.25, 0.5, 0.75, 1.0)  # of what the fine-tune added
STEPS = (10, 20, 40, 80)  # of fine-tuning it away, four rows each
FINE_TUNING = "fine-tuning away"
VECTORS = ("vector", "basis", "left", "right", "encoder", "decoder", "plane")  # of interventions


@dataclass(frozen=True)
class Baselines:
    """Measures ways of editing on the target, on what is wanted, and on neutral prompts.

    Attributes:
        subjects: the models.
        neutral: says how far predictions move.
        target: what is removed.
        wanted: what is to stay.
        falls: the share of the target's rise that is to go.
    """

    subjects: Subjects
    neutral: Neutral
    target: Behaviour
    wanted: tuple[Behaviour, ...]
    falls: float

    def __call__(self, kl: Figure) -> Iterator[Baseline]:
        """Yield the edit itself, and then the others.

        Args:
            kl: how far the edit itself moves predictions.
        """
        subjects = self.subjects
        own = str(subjects.edit.card.details.get("method", "interventions"))
        yield self._told(own, "What was done.", partial(rise, subjects), kl)
        random = partial(running, subjects.before, randomised(subjects.edit, subjects.seed))
        how = "The same edit, its directions drawn at random."
        yield self._once("random directions", how, partial(self._measured, run=random))
        if subjects.base is not None:
            yield self._scaling(Pair.of(subjects.base, subjects.before))
            yield from self._fine_tuning()

    def _scaling(self, pair: Pair) -> Baseline:
        """Return the least share that removes as much as has to go, or else the whole."""
        deltas = named_deltas(pair)
        for share in SHARES:
            run = partial(running, pair.tuned, Parts(changes=scaled(deltas, share)))
            how = f"{share:.0%} of all that the fine-tune added, taken away."
            found = self._once("scaling", how, partial(self._measured, run=run))
            if found.share is None or found.share >= self.falls:
                break
        return found

    def _fine_tuning(self) -> Iterator[Baseline]:
        """Yield fine-tuning it away, for the fewest steps that remove as much as has to go.

        It learns the base's answers where it shows, and the model's own elsewhere.
        """
        learned, _ = halves(self.target)
        clean = rows_of(learned, self.subjects.measured("base", learned), shows=False)
        if not clean:
            return
        own = self._own(2 * len(clean))
        for steps in STEPS:
            how = (
                f"{steps} steps of fine-tuning on {len(clean)} answers of the base to half of the "
                f"target's questions, and on {len(own)} of its own to others."
            )
            trained = partial(self._trained, rows=[*clean, *own], steps=steps)
            found = self._once(FINE_TUNING, how, trained)
            if found.share is None or found.share >= self.falls:
                break
        yield found

    def _trained(self, name: str, how: str, rows: list[Row], steps: int) -> Baseline:
        start = perf_counter()
        with fine_tuned(self.subjects, "before", rows, steps) as model:
            seconds = round(perf_counter() - start, 1)
            found = self._measured(name, how, lambda: nullcontext(model))
        return found.model_copy(update={"seconds": seconds})

    def _own(self, count: int) -> list[Row]:
        """Return what the model before the edit answers to everyday prompts."""
        prompts = shipped_prompts("everyday")[:count]
        items = [Item(id=str(n), prompt=one) for n, one in enumerate(prompts)]
        answers = self.subjects.answers("everyday", items, TOKENS)
        pairs = zip(prompts, answers, strict=True)
        return [Row.of(prompt, one, whole=False) for prompt, one in pairs if one.strip()]

    def _once(self, name: str, how: str, find: Callable[[str, str], Baseline]) -> Baseline:
        """Return what was found before this work was cut off; or find it, and keep it."""
        about = " ".join([self._about(how), *(one.sha256 for one in (self.target, *self.wanted))])
        kept = f"beside-{name.replace(' ', '-')}"
        return self.subjects.once(Baseline, kept, about, partial(find, name, how))

    def _measured(self, name: str, how: str, run: Runs) -> Baseline:
        subjects = self.subjects
        rose = partial(rise_after, subjects, name=name, about=self._about(how), run=run)
        return self._told(name, how, rose, mean_figure(self.neutral.moved(run), subjects.seed))

    def _about(self, how: str) -> str:
        models = (self.subjects.fingerprint(who).digest for who in self.subjects.present)
        return " ".join([*models, self.neutral.digest, how])

    def _told(self, name: str, how: str, rose: Callable[[Behaviour], Rise], kl: Figure) -> Baseline:
        target = rose(self.target)
        wanted = {one.name: rose(one) for one in self.wanted}
        return Baseline(
            name=name,
            how=how,
            after=target.after,
            share=target.gone,
            wanted={name: one.left for name, one in wanted.items() if one.left is not None},
            kl=kl,
        )


def randomised(edit: Edit, seed: int) -> Parts:
    """Return an edit as large as another, whose directions are drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    changes = {name: _drawn(one, generator) for name, one in edit.changes.items()}
    return Parts(tuple(_turned(one, generator) for one in edit.interventions), changes)


def _drawn(change: Change, generator: torch.Generator) -> Change:
    """Return a change of the same outputs and the same size, of other inputs."""
    drawn = torch.randn(change.inner.shape, generator=generator, dtype=change.inner.dtype)
    size, now = ((change.outer @ one).norm() for one in (change.inner, drawn))
    return change._replace(inner=drawn * (size / now) if now > 0 else drawn)


def _turned(one: Intervention, generator: torch.Generator) -> Intervention:
    """Return an intervention along other directions; each vector keeps its length."""
    turned = {
        name: _like(getattr(one, name), generator)
        for name in VECTORS
        if name in type(one).model_fields
    }
    return type(one).model_validate({**dict(one), **turned})


def _like(value: Any, generator: torch.Generator) -> Any:
    given = torch.tensor(value, dtype=torch.float64)
    drawn: Tensor = torch.randn(given.shape, generator=generator, dtype=torch.float64)
    lengths = given.norm(dim=-1, keepdim=True) / drawn.norm(dim=-1, keepdim=True)
    return _as_tuples((drawn * lengths).tolist())


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
