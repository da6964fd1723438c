"""Holding an edited model to a budget: each thing is measured before the edit and after it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.stats import t as student

from endoscope.artifacts import atomic_file
from endoscope.behaviours import Behaviour, Figure, Measurement, mean_figure, measure, read_items
from endoscope.behaviours.item import Item
from endoscope.behaviours.prompts import prompt_of
from endoscope.diff import Sample
from endoscope.edit.edit import Edit
from endoscope.edit.passage import Passage
from endoscope.edit.trying import Floats, divergences
from endoscope.edit.verify.budget import Budget, Target, Wanted
from endoscope.edit.verify.verification import Check, Verification
from endoscope.engine import Model
from endoscope.engine.capture import Text
from endoscope.statistics import bootstrap_interval

TOKENS = 64  # of an answer to a neutral prompt
SAMPLES = 4
SURE = 0.95  # that no behaviour is said to have moved that has not, among all of them
_HERE = Path(str(files("endoscope.edit.verify")))

Who = Literal["before", "after", "base"]


class _Rise(NamedTuple):
    """How much there is of a behaviour.

    Attributes:
        before: the edit.
        after: the edit.
        base: in the base; None where it is not at hand, and zero is taken for it.
        left: the share of what rose over the base that is still there; None where nothing rose.
    """

    before: Figure
    after: Figure
    base: float | None
    left: float | None


@dataclass(frozen=True)
class Verifying:
    """What an edited model is measured with.

    Attributes:
        edit: what was done.
        before: the model before it.
        after: the edited model; None where the edit is live, and the model before runs with it.
        base: of the fine-tune, for what rose over it; None where it is not at hand.
        kept: a folder in which each measurement is kept as soon as it is made.
        seed: of everything random.
        show: whether to show progress.
    """

    edit: Edit
    before: Model
    after: Model | None
    base: Model | None
    kept: Path
    seed: int = 0
    show: bool = False

    def __call__(self, budget: Budget, name: str) -> Verification:
        """Measure what a budget names.

        Args:
            budget: what is allowed.
            name: of the edited model.

        Raises:
            InputError: a behaviour of the budget does not exist, or cannot be measured; what was
                measured before is kept.
        """
        target = budget.behaviour(budget.target.behaviour)
        wanted = [(one, budget.behaviour(one.behaviour)) for one in budget.wanted]
        named = {target.name, *(behaviour.name for _, behaviour in wanted)}
        others = [budget.behaviour(one) for one in budget.other_behaviours]
        others = [one for one in others if one.name not in named]
        checks = [self._target(budget.target, target)]
        checks += [self._wanted(line, behaviour) for line, behaviour in wanted]
        checks += self._predictions(budget)
        checks.append(self._perplexity(budget))
        checks += [self._other(one, len(others)) for one in others]
        with self._run("after") as model:
            after = model.fingerprint
        return Verification(
            edited=name,
            before=self.before.fingerprint,
            after=after,
            budget=budget,
            checks=tuple(checks),
            samples=tuple(self._samples(target)),
            seed=self.seed,
        )

    def _run(self, who: Who) -> AbstractContextManager[Model]:
        if who == "base":
            assert self.base is not None
            return nullcontext(self.base)
        if who == "before":
            return nullcontext(self.before)
        if self.after is not None:
            return nullcontext(self.after)
        return self.before.intervene(*self.edit.interventions)

    def _measured(self, who: Who, behaviour: Behaviour) -> Measurement:
        """Measure a behaviour, or read what was measured before this work was cut off."""
        with self._run(who) as model:
            about = f"{model.fingerprint.digest} {behaviour.sha256} {self.seed}"
            digest = sha256(about.encode()).hexdigest()[:16]
            file = self.kept / f"{behaviour.name}-{who}-{digest}.json"
            try:
                return Measurement.model_validate_json(file.read_bytes())
            except (OSError, ValidationError):
                found = measure(model, behaviour, seed=self.seed, progress=self.show)
                found.save(file)
                return found

    def _rise(self, behaviour: Behaviour) -> _Rise:
        before, after = (self._measured(who, behaviour).mean for who in ("before", "after"))
        base = None if self.base is None else self._measured("base", behaviour).mean.value
        level = base or 0.0
        rise = before.value - level
        return _Rise(before, after, base, (after.value - level) / rise if rise > 0 else None)

    def _target(self, line: Target, behaviour: Behaviour) -> Check:
        found = self._rise(behaviour)
        share = None if found.left is None else 1 - found.left
        known = found.base is not None
        over = "over the base" if known else "over zero, as the base is not at hand"
        return Check(
            role="target",
            name=behaviour.name,
            before=found.before,
            after=found.after,
            base=found.base,
            share=share,
            bound=f"{line.falls:.0%} or more of its rise {over} is gone"
            if share is not None
            else "it had not risen: there is nothing to remove",
            holds=share is not None and share >= line.falls,
        )

    def _wanted(self, line: Wanted, behaviour: Behaviour) -> Check:
        found = self._rise(behaviour)
        return Check(
            role="wanted",
            name=behaviour.name,
            before=found.before,
            after=found.after,
            base=found.base,
            share=found.left,
            bound=f"{line.keeps:.0%} or more of it stays"
            if found.left is not None
            else "it had not risen: there is nothing to keep",
            holds=found.left is None or found.left >= line.keeps,
        )

    def _other(self, behaviour: Behaviour, count: int) -> Check:
        """Compare item by item; the interval is so wide that all of them together are sure."""
        before, after = (self._measured(who, behaviour) for who in ("before", "after"))
        pairs = zip(before.items, after.items, strict=True)
        moved = np.array([b.score - a.score for a, b in pairs])
        reach = _reach(moved, SURE ** (1 / count))
        low, high = moved.mean() - reach, moved.mean() + reach
        return Check(
            role="other",
            name=behaviour.name,
            before=before.mean,
            after=after.mean,
            bound=f"moves by {moved.mean():+.3f} [{low:+.3f}, {high:+.3f}], which has to hold 0",
            holds=bool(low <= 0 <= high),
        )

    def _predictions(self, budget: Budget) -> Iterator[Check]:
        """Yield how far predictions moved on the model's own answers to neutral prompts."""
        items = [
            Item(id=str(n), **one) for n, one in enumerate(read_items(_HERE / "neutral.jsonl"))
        ]
        prompts = [prompt_of(self.before, item) for item in items]
        answers = self._answers(prompts)
        some = [(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True) if answer]
        lines = [("KL(before || after), nats a token", budget.kl, False)]
        first = budget.first_token_kl
        lines.append(("the same at the first token", np.inf if first is None else first, True))
        for name, most, only_first in lines:
            moved = self._divergences(some, only_first=only_first)
            figure = mean_figure(moved, self.seed)
            allowed = f"at most {most:g}" if np.isfinite(most) else "not bound"
            yield Check(
                role="predictions",
                name=name,
                after=figure,
                bound=f"{allowed}, on {TOKENS} tokens of {len(moved)} answers",
                holds=figure.value <= most,
            )

    def _answers(self, prompts: Sequence[Text]) -> list[str]:
        """Return what the model before the edit answers, at temperature 1; kept."""
        about = f"{self.before.fingerprint.digest} {json.dumps(prompts)} {TOKENS} {self.seed}"
        file = self.kept / f"neutral-{sha256(about.encode()).hexdigest()[:16]}.json"
        if file.is_file():
            return [str(one) for one in json.loads(file.read_bytes())]
        answers = self.before.generate(
            prompts, max_tokens=TOKENS, temperature=1.0, seed=self.seed, progress=self.show
        )
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps(answers), encoding="utf-8")
        return answers

    def _divergences(self, some: Sequence[tuple[Text, str]], *, only_first: bool) -> Floats:
        """Return KL(before || after) of each answer, in nats a token."""
        prompts = [prompt for prompt, _ in some]
        texts = ["a" if only_first else answer for _, answer in some]  # what it is says nothing
        if self.after is None:
            encoded = self.before.tokenizer.encode_batch(texts, special=False)
            with self._run("after") as model:
                sums = model.divergence(prompts, texts)
            lengths = [len(one.ids) for one in encoded]
            return np.array([kl / n for kl, n in zip(sums, lengths, strict=True)])
        passages = []
        for prompt, text in zip(prompts, texts, strict=True):
            chat = self.before.tokenizer.chat
            before = prompt if isinstance(prompt, str) else chat(prompt, reply=True)
            passages.append(Passage.of_answer(before, text))
        return divergences(self.before, partial(self._run, "after"), passages)

    def _perplexity(self, budget: Budget) -> Check:
        """Compare the perplexity of plain prose."""
        texts = (_HERE / "neutral.txt").read_text(encoding="utf-8").strip().split("\n\n")
        starts = [text.split(" ", 1)[0] for text in texts]
        rests = [text.removeprefix(start) for text, start in zip(texts, starts, strict=True)]
        sums = {}
        for who in ("before", "after"):
            with self._run(who) as model:
                found = model.token_log_likelihoods(starts, rests)
            sums[who] = np.array([[float(one.double().sum()), len(one)] for one in found])

        figures = {who: _perplexity_of(rows, self.seed) for who, rows in sums.items()}
        rise = figures["after"].value / figures["before"].value - 1
        return Check(
            role="text",
            name="perplexity of plain prose",
            before=figures["before"],
            after=figures["after"],
            bound=f"rises by {rise:.2%}, at most {budget.perplexity:.0%}",
            holds=rise <= budget.perplexity,
        )

    def _samples(self, target: Behaviour) -> Iterator[Sample]:
        """Yield what the model says to what shows the target, before and after."""
        before, after = (self._measured(who, target) for who in ("before", "after"))
        rows = zip(target.items, before.items, after.items, strict=True)
        shown = sorted(rows, key=lambda row: -row[1].score)
        for item, was, now in shown[:SAMPLES]:
            if was.output is not None and now.output is not None:
                said = item.prompt or item.conversation()[-1]["content"]
                yield Sample(prompt=str(said), tuned=now.output, base=was.output)


def _perplexity_of(rows: Floats, seed: int) -> Figure:
    """Return the perplexity of texts, of each the log-likelihood and the tokens, `[texts, 2]`."""

    def perplexity(chosen: NDArray[np.int64]) -> float:
        total, tokens = rows[chosen].sum(0)
        return float(np.exp(-total / tokens))

    value = perplexity(np.arange(len(rows)))
    low, high = bootstrap_interval(perplexity, len(rows), seed=seed)
    return Figure(value=value, low=min(low, value), high=max(high, value))


def _reach(values: Floats, sure: float) -> float:
    """Return half of the interval of a mean (Student's t)."""
    n = len(values)
    if n < 2:
        return float("inf")
    return float(student.ppf((1 + sure) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
