"""Measuring one cell."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from torch import Tensor

from endoscope.behaviours import Behaviour, Item, measure
from endoscope.behaviours.prompts import prompt_of
from endoscope.directions import Direction
from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.interventions import add
from endoscope.interventions.operations import Positions
from endoscope.models import Site
from endoscope.steer.cell import Cell, Place, Split
from endoscope.steer.coherence import read
from endoscope.steer.controls import instructed, random_directions

NEUTRAL_TOKENS = 48  # of an answer to a neutral prompt

T = TypeVar("T")


@dataclass(frozen=True)
class Measuring:
    """All that a sweep measures with; called with a place it gives the cell.

    Args:
        model: without interventions.
        behaviour: whose scorer is used, on other items than its own where those are chosen.
        items: of each split.
        directions: by site.
        neutral: prompts that have nothing to do with the behaviour.
        instruction: what the prompt-only baseline is asked for.
        positions: where directions are added.
        random: how many random directions there are.
        seed: of everything random.
    """

    model: Model
    behaviour: Behaviour
    items: dict[Split, tuple[Item, ...]]
    directions: dict[str, Direction]
    neutral: tuple[Item, ...]
    instruction: str
    positions: Positions
    random: int
    seed: int

    def __call__(self, place: Place) -> Cell:
        """Measure a cell. Random directions without a number take turns over the prompts."""
        items, neutral = self.items[place.split], range(len(self.neutral))
        if place.kind != "random" or place.number is not None:
            return self._measure(place, items, neutral)
        turns = min(self.random, len(items), len(neutral))
        parts = [
            self._measure(
                place.model_copy(update={"number": number}),
                items[number::turns],
                neutral[number::turns],
            )
            for number in range(turns)
        ]
        return Cell(
            place=place,
            scores=_interleaved([part.scores for part in parts]),
            writings=_interleaved([part.writings for part in parts]),
            kl=_interleaved([part.kl or () for part in parts]),
        )

    def _measure(self, place: Place, items: Sequence[Item], neutral: Sequence[int]) -> Cell:
        given = tuple(self._given(place, items))
        behaviour = self.behaviour.model_copy(update={"items": given, "controls": ()})
        kl = None
        self.plain_answers  # noqa: B018 - before anything is changed
        with self._changed(place):
            found = measure(self.model, behaviour, seed=self.seed)
            texts = [one.output for one in found.items if one.output is not None]
            asked = items
            if not texts:  # the scorer lets nothing be written
                asked = [self.neutral[number] for number in neutral]
                texts = self._answers(self._given(place, asked))
            if place.kind in ("direction", "random"):
                kl = self._kl(neutral)
        writings = read(self.model, self._prompts(asked), texts)
        scores = tuple(one.score for one in found.items)
        return Cell(place=place, scores=scores, writings=writings, kl=kl)

    def _changed(self, place: Place) -> AbstractContextManager[Any]:
        """Run the model as a place says."""
        if place.site is None or place.strength is None:
            return nullcontext()
        vector = self._vector(place)
        return self.model.intervene(
            add(vector, place.strength, site=place.site, positions=self.positions)
        )

    def _vector(self, place: Place) -> Tensor:
        site = Site.parse(str(place.site))
        if place.kind == "direction":
            return self.directions[str(site)].vector
        drawn = random_directions(site, self.model.d_model, self.random, self.seed)
        return drawn[place.number or 0]

    def _kl(self, neutral: Sequence[int]) -> tuple[float, ...]:
        """Return how far predictions move per token, in each answer to a neutral prompt."""
        texts, lengths = self.plain_answers
        some = [number for number in neutral if lengths[number]]
        prompts = self._prompts([self.neutral[number] for number in some])
        sums = self.model.divergence(prompts, [texts[number] for number in some])
        return tuple(kl / lengths[number] for kl, number in zip(sums, some, strict=True))

    @cached_property
    def plain_answers(self) -> tuple[list[str], list[int]]:
        """What the plain model answers to the neutral prompts, and how many tokens that has."""
        texts = self._answers(self.neutral)
        encoded = self.model.tokenizer.encode_batch(texts, special=False)
        return texts, [len(one.ids) for one in encoded]

    def _answers(self, items: Sequence[Item]) -> list[str]:
        return self.model.generate(self._prompts(items), max_tokens=NEUTRAL_TOKENS, seed=self.seed)

    def _prompts(self, items: Sequence[Item]) -> list[Text]:
        return [prompt_of(self.model, item) for item in items]

    def _given(self, place: Place, items: Sequence[Item]) -> list[Item]:
        """Return items as the model gets them: with the instruction, where that is the place."""
        if place.kind != "prompt":
            return list(items)
        can_chat = self.model.tokenizer.can_chat
        return [instructed(item, self.instruction, can_chat) for item in items]


def _interleaved(parts: Sequence[Sequence[T]]) -> tuple[T, ...]:
    """Put together what was dealt out in turns."""
    longest = max(map(len, parts))
    return tuple(part[i] for i in range(longest) for part in parts if i < len(part))
