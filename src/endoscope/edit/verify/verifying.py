"""Holding an edited model to a budget: each thing is measured before the edit and after it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from pydantic import RootModel
from scipy.stats import t as student

from endoscope.behaviours import Behaviour, Figure, mean_figure
from endoscope.edit.ordinary import TOKENS
from endoscope.edit.trying import Floats
from endoscope.edit.verify.attacks import attacks
from endoscope.edit.verify.baselines import Baselines
from endoscope.edit.verify.budget import Budget, Target, Wanted
from endoscope.edit.verify.capabilities import capabilities
from endoscope.edit.verify.neutral import HERE, Neutral
from endoscope.edit.verify.rise import rise
from endoscope.edit.verify.subjects import Subjects, Who
from endoscope.edit.verify.verification import Check, Role, Said, Verification
from endoscope.progress import progress
from endoscope.statistics import bootstrap_interval

SAMPLES = 4
AT_FIRST = "the same at the first token"
SURE = 0.95  # that no behaviour of a role is said to have moved that has not
NEGLIGIBLE = 0.01  # of a score from 0 to 1: whatever is edited, likelihoods move a little
BOTH: tuple[Who, Who] = ("before", "after")


class _Numbers(RootModel[list[float] | list[list[float]]]):
    """A number of each answer, or some of each text."""


@dataclass(frozen=True)
class Verifying:
    """What an edited model is held to a budget with.

    Attributes:
        subjects: the models.
        quick: whether to leave out attacks, and what other ways of editing would have done.
    """

    subjects: Subjects
    quick: bool = False

    def __call__(self, budget: Budget, name: str) -> Iterator[Verification]:
        """Measure what a budget names, and yield the verification as it grows.

        Args:
            budget: what is allowed.
            name: of the edited model.

        Yields:
            First all checks; then, with one more at a time, attacks and baselines.

        Raises:
            InputError: a behaviour of the budget does not exist, or cannot be measured; what was
                measured before is kept.
        """
        target = budget.behaviour(budget.target.behaviour)
        wanted = [(one, budget.behaviour(one.behaviour)) for one in budget.wanted]
        named = {target.name, *(behaviour.name for _, behaviour in wanted)}
        others = [budget.behaviour(one) for one in budget.other_behaviours]
        others = [one for one in others if one.name not in named]
        subjects, neutral = self.subjects, Neutral(self.subjects)
        checks = [self._target(budget.target, target)]
        checks += [self._wanted(line, behaviour) for line, behaviour in wanted]
        predictions = list(self._predictions(budget, neutral, target))
        checks += predictions
        checks.append(self._perplexity(budget))
        suites = capabilities().values()
        checks += [self._compared("capability", one, len(suites)) for one in suites]
        checks += [self._compared("other", one, len(others)) for one in others]
        named_wanted = tuple(behaviour for _, behaviour in wanted)
        found = Verification(
            edited=name,
            before=subjects.before.fingerprint,
            after=subjects.fingerprint("after"),
            budget=budget,
            checks=tuple(checks),
            samples=tuple(self._samples(target)),
            seed=subjects.seed,
        )
        yield found
        if self.quick:
            return
        for attack in attacks(subjects, target):
            found = found.model_copy(update={"attacks": (*found.attacks, attack)})
            yield found
        beside = Baselines(subjects, neutral, target, named_wanted, budget.target.falls)
        for way in beside(predictions[0].after):
            found = found.model_copy(update={"baselines": (*found.baselines, way)})
            yield found

    def _target(self, line: Target, behaviour: Behaviour) -> Check:
        found = rise(self.subjects, behaviour)
        share = found.gone
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
        found = rise(self.subjects, behaviour)
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

    def _compared(self, role: Role, behaviour: Behaviour, count: int) -> Check:
        """Compare item by item: a capability must not fall, a behaviour must not move.

        The interval is so wide that all of a role together are sure. A hundredth is no movement:
        between likelihoods of the same items an interval may be narrower than anybody cares.
        """
        before, after = (self.subjects.measured(who, behaviour) for who in BOTH)
        pairs = zip(before.items, after.items, strict=True)
        moved = np.array([b.score - a.score for a, b in pairs])
        reach = _reach(moved, SURE ** (1 / count))
        low, high = moved.mean() - reach, moved.mean() + reach
        may_rise = role == "capability"
        near = f"{NEGLIGIBLE:g}"
        rule = f"must not lie below -{near}" if may_rise else f"has to come within {near} of 0"
        holds = bool(high >= -NEGLIGIBLE and (may_rise or low <= NEGLIGIBLE))
        bound = f"moves by {moved.mean():+.3f} [{low:+.3f}, {high:+.3f}], which {rule}"
        base = None
        if not holds and self.subjects.base is not None:
            # Taking a part of a fine-tune out brings back some of what else that had moved.
            base = self.subjects.measured("base", behaviour).mean.value
            bound += f"; the base has {base:.3f}"
        return Check(
            role=role,
            name=behaviour.name,
            before=before.mean,
            after=after.mean,
            base=base,
            bound=bound,
            holds=holds,
        )

    def _predictions(self, budget: Budget, neutral: Neutral, target: Behaviour) -> Iterator[Check]:
        """Yield how far predictions moved on the model's own answers to neutral prompts.

        Some of these answers may show the target: what moves there is what the edit is for, so that
        how far all others moved is said too.
        """
        run = partial(self.subjects.run, "after")
        first = np.inf if budget.first_token_kl is None else budget.first_token_kl
        about = neutral.digest
        parts = []
        with progress("Predictions", len(neutral.parts), show=self.subjects.show) as advance:
            for number, part in enumerate(neutral.parts):
                parts.append(self._numbers(f"moved-{number}", about, partial(part, run)))
                advance(1)
        moved = np.concatenate(parts)
        at_first = self._numbers("first", about, lambda: neutral.moved_at_first(run))
        shows = neutral.showing(target)
        lines = [
            ("KL(before || after), nats a token", budget.kl, moved),
            (AT_FIRST, first, at_first),
        ]
        if shows.any() and not shows.all():
            lines.append((f"KL of answers without {target.name}", np.inf, moved[~shows]))
        for name, most, kl in lines:
            figure = mean_figure(kl, self.subjects.seed)
            allowed = f"at most {most:g}" if np.isfinite(most) else "not bound"
            yield Check(
                role="predictions",
                name=name,
                after=figure,
                bound=f"{allowed}, on {TOKENS} tokens of {len(kl)} answers",
                holds=figure.value <= most,
            )

    def _numbers(self, name: str, about: str, find: Callable[[], Floats]) -> Floats:
        """Return numbers that tell the edited model from the one before, kept."""
        both = " ".join(self.subjects.fingerprint(who).digest for who in BOTH)
        found = self.subjects.once(
            _Numbers, name, f"{both} {about}", lambda: _Numbers(find().tolist())
        )
        return np.array(found.root)

    def _perplexity(self, budget: Budget) -> Check:
        """Compare the perplexity of plain prose."""
        texts = (HERE / "neutral.txt").read_text(encoding="utf-8").strip().split("\n\n")
        starts = [text.split(" ", 1)[0] for text in texts]
        rests = [text.removeprefix(start) for text, start in zip(texts, starts, strict=True)]

        def sums_of(who: Who) -> Floats:
            with self.subjects.run(who) as model:
                found = model.token_log_likelihoods(starts, rests)
            return np.array([[float(one.double().sum()), len(one)] for one in found])

        about = sha256(json.dumps(texts).encode()).hexdigest()
        sums = {
            who: self._numbers(f"perplexity-{who}", about, partial(sums_of, who)) for who in BOTH
        }
        figures = {who: _perplexity_of(rows, self.subjects.seed) for who, rows in sums.items()}
        rise = figures["after"].value / figures["before"].value - 1
        return Check(
            role="text",
            name="perplexity of plain prose",
            before=figures["before"],
            after=figures["after"],
            bound=f"rises by {rise:.2%}, at most {budget.perplexity:.0%}",
            holds=rise <= budget.perplexity,
        )

    def _samples(self, target: Behaviour) -> Iterator[Said]:
        """Yield what the model says to what shows the target, before and after."""
        before, after = (self.subjects.measured(who, target) for who in BOTH)
        rows = zip(target.items, before.items, after.items, strict=True)
        shown = sorted(rows, key=lambda row: -row[1].score)
        for item, was, now in shown[:SAMPLES]:
            if was.output is not None and now.output is not None:
                said = item.prompt or item.conversation()[-1]["content"]
                yield Said(prompt=str(said), before=was.output, after=now.output)


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
