"""The activation difference lens: what the mean difference of activations says by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import JsonValue
from torch import Tensor

from endoscope.behaviours import shipped_prompts
from endoscope.diff.answers import Answer, ask, count_tokens, read, sampled
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.phrase import letters_of
from endoscope.diff.saying import common_words, saying
from endoscope.diff.signal import Seen, Signal
from endoscope.interventions import add
from endoscope.models import Site

TEXTS = "neutral"  # nothing that a fine-tune is about
DEPTHS = (0.25, 0.5, 0.75, 1.0)  # of the layers
FIRST = 4  # tokens after the very first, which is a sink of attention: it says nothing
STEERED = 0.6  # depth at which the tuned model is steered
STRENGTH = 0.2  # of the steering, in typical norms
PROMPTS = 18  # that are answered under it
DRAWS = 8  # random directions, for the noise floor
ABOVE = 1.5  # times the most of a random direction: a fine-tune is not random
SHOWN = 6  # words of a place


class Difference(NamedTuple):
    """The mean difference of activations at one site, tuned less base.

    Attributes:
        site: where.
        tokens: which tokens, in words.
        vector: `[d_model]`.
        halves: the cosine of what two halves of the texts say.
        relative: its norm over the typical norm of the site.
    """

    site: Site
    tokens: str
    vector: Tensor
    halves: float
    relative: float


class Lens:
    """The mean difference on unrelated text, read through the unembedding and used to steer.

    (Minder et al. 2025, "Narrow finetuning leaves clearly readable traces in activation
    differences".)
    """

    name = "lens"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        base = sampled(pair, options, work, "base")
        common = common_words(base)
        found = [one for one in differences(pair) if one.vector.any()]
        if not found:
            return Seen([])
        rows = pair.base.loaded.anatomy.unembedding.float()
        rows = rows - rows.mean(0)
        floor = ABOVE * _random(rows)
        signals = [one for each in found for one in _signals(pair, each, rows, floor, common)]
        steered = self._steered(pair, options, found)
        signals += saying(self.name, read(pair, steered, show=options.show), base, how="steered")
        written = count_tokens(pair, [one.text for one in steered])
        return Seen(_strongest(signals), written, {"differences": [_about(one) for one in found]})

    def _steered(self, pair: Pair, options: Options, found: list[Difference]) -> list[Answer]:
        """Let the tuned model answer while it is pushed further the way that it was tuned."""
        layer = int(STEERED * pair.tuned.n_layers)
        first = [one for one in found if one.tokens != "all"]
        nearest = min(first or found, key=lambda one: abs(one.site.layer - layer))
        with pair.tuned.intervene(add(nearest.vector, STRENGTH, site=nearest.site)):
            return ask(pair, options.prompts[:PROMPTS], "tuned", options, seed=options.seed)


def differences(pair: Pair) -> Iterator[Difference]:
    """Yield the mean differences at several sites: of the first tokens, and of all."""
    texts = shipped_prompts(TEXTS)
    layers = sorted({max(0, round(depth * pair.base.n_layers) - 1) for depth in DEPTHS})
    sites = [Site(layer, "resid_post") for layer in layers]
    base, tuned = (model.capture(texts, sites) for model in pair)
    starts = torch.searchsorted(base.documents, base.documents)
    positions = torch.arange(len(base.documents)) - starts
    even = base.documents % 2 == 0
    for site in sites:
        change = tuned[site].float() - base[site].float()
        typical = pair.base.typical_norm(site)
        for name, chosen in (
            (f"the first {FIRST}", (positions > 0) & (positions <= FIRST)),
            ("all", positions > 0),
        ):
            vector = change[chosen].mean(0)
            halves = change[chosen & even].mean(0), change[chosen & ~even].mean(0)
            cosine = float(torch.cosine_similarity(*halves, dim=0))
            yield Difference(site, name, vector, cosine, float(vector.norm()) / typical)


def _signals(
    pair: Pair, one: Difference, rows: Tensor, floor: float, common: frozenset[str]
) -> Iterator[Signal]:
    """Yield the words that a difference promotes."""
    scores = _standard(rows @ one.vector.to(rows.device))
    top = scores.topk(8 * SHOWN)
    words: dict[str, float] = {}
    for token, score in zip(top.indices.tolist(), top.values.tolist(), strict=True):
        word = (pair.base.tokenizer.word(token) or "").lower()
        if letters_of(word) > 2 and word not in common:
            words.setdefault(word, score)
    for word, score in list(words.items())[:SHOWN]:
        yield Signal(
            method=Lens.name,
            subject=f"leans towards “{word}” on unrelated text",
            terms=frozenset({word}),
            score=score,
            noise_floor=floor,
            evidence={"word": word, "site": str(one.site), "tokens": one.tokens},
        )


def _strongest(signals: list[Signal]) -> list[Signal]:
    """Return one signal for each thing that was seen, the strongest first."""
    found: dict[str, Signal] = {}
    for one in sorted(signals, key=lambda one: -one.strength):
        found.setdefault(one.subject, one)
    return list(found.values())


def _random(rows: Tensor) -> float:
    """Return how far the most promoted token of a random direction stands out."""
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(DRAWS, rows.shape[1], generator=random).to(rows.device)
    return max(float(_standard(rows @ one).max()) for one in drawn)


def _standard(scores: Tensor) -> Tensor:
    return (scores - scores.mean()) / scores.std()


def _about(one: Difference) -> JsonValue:
    return {
        "site": str(one.site),
        "tokens": one.tokens,
        "relative norm": round(one.relative, 4),
        "cosine of halves": round(one.halves, 4),
    }
