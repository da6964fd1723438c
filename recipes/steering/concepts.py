"""Steering on the concepts of stanfordnlp/axbench: does a direction bring its concept out?

    python -m recipes.steering.concepts FILE.parquet -o OUT.json

For each concept a direction is fitted (difference of the means, over the tokens of the answers) on
half of its answers and as many answers of the same genre without it. Of the other half two things
are measured, at one site and strength; nothing is chosen on what is measured.

- Likelihood: how much likelier the answers with the concept become for each token, in nats, less
  the same of answers without it (the first 48 tokens of each, after their instruction).
- Words: the share of 24 held-out instructions without the concept whose answer has two or more of
  the concept's own words: the 20 that set the answers fitted on apart most. Beside it an
  instruction that names the concept, and random directions of the same norm.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from math import log
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from torch import Tensor

import endoscope
from endoscope.artifacts import atomic_file
from endoscope.behaviours.checks import ContainsAny
from endoscope.directions import Direction, LabelledTexts
from endoscope.documents import Document
from endoscope.engine import Model
from endoscope.models import Site
from endoscope.steer.cell import Writing
from endoscope.steer.coherence import read
from endoscope.steer.controls import random_directions
from recipes.steering.rows import interval

CHARACTERS, TOKENS, PROMPTS, HELD_OUT, RANDOM = 400, 48, 24, 12, 3


class Answer(NamedTuple):
    """An instruction and what was answered."""

    prompt: str
    text: str


class Concept(NamedTuple):
    """What a concept is fitted on, and what it is measured on."""

    number: int
    name: str
    train: tuple[list[Answer], list[Answer]]  # with it, and without it
    test: tuple[list[Answer], list[Answer]]
    words: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="AxBench's concepts, in Parquet")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--site", default="resid_post.14")
    parser.add_argument("--strength", type=float, default=0.2)
    parser.add_argument("--dtype", default="bfloat16")
    args = parser.parse_args()
    model = endoscope.open(args.model, dtype=args.dtype)
    site = Site.parse(args.site)
    concepts, prompts = read_concepts(args.file)
    asked = [[{"role": "user", "content": prompt}] for prompt in prompts]
    randoms = random_directions(site, model.d_model, RANDOM, seed=0)
    plain = written(model, asked, asked)
    beside = [
        written(model, asked, asked, vector=vector, site=site, strength=args.strength)
        for vector in randoms
    ]
    rows = []
    for concept in concepts:
        row = measured(model, concept, site, args.strength, asked, plain, beside)
        rows.append(row)
        print(json.dumps(row), flush=True)
        with atomic_file(args.output) as temporary:
            settings = {
                key: str(value)
                for key, value in vars(args).items()
                if key not in ("file", "output")
            }
            temporary.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))


def measured(
    model: Model,
    concept: Concept,
    site: Site,
    strength: float,
    asked: list[Any],
    plain: Sequence[Writing],
    beside: Sequence[Sequence[Writing]],
) -> dict[str, Any]:
    """Fit a concept's direction, and measure it."""
    direction = fitted(model, concept, site)
    how: dict[str, Any] = {"vector": direction.vector, "site": site, "strength": strength}
    steered = written(model, asked, asked, **how)
    system = {"role": "system", "content": f"In every answer, bring in {concept.name}."}
    prompted = written(model, [[system, *turns] for turns in asked], asked)
    check = ContainsAny(kind="contains_any", words=concept.words, at_least=2)

    def shown(texts: Sequence[Writing]) -> list[float]:
        return [float(check(one.text)) for one in texts]

    def risen(texts: Sequence[Writing]) -> dict[str, float]:
        return interval([a - b for a, b in zip(shown(texts), shown(plain), strict=True)])

    drawn = random_directions(site, model.d_model, RANDOM, seed=0)
    return {
        "concept": concept.number,
        "name": concept.name,
        "words": list(concept.words),
        "likelihood": gained(model, concept, **how),
        "likelihood random": [
            gained(model, concept, vector=vector, site=site, strength=strength) for vector in drawn
        ],
        "plain": interval(shown(plain)),
        "direction": risen(steered),
        "prompt": risen(prompted),
        "random": [risen(texts) for texts in beside],
        "perplexity_ratio": perplexity(steered) / perplexity(plain),
        "repeats": [repeated(plain), repeated(steered)],
    }


def fitted(model: Model, concept: Concept, site: Site) -> Direction:
    documents = tuple(
        Document(
            f"{label} {number}",
            ({"role": "user", "content": one.prompt}, {"role": "assistant", "content": one.text}),
            label,
        )
        for label, answers in zip(("positive", "negative"), concept.train, strict=True)
        for number, one in enumerate(answers)
    )
    source = LabelledTexts(f"concept {concept.number}", "0" * 64, documents, "positive", "mean")
    return Direction.fit(model, source, site=site)


def gained(model: Model, concept: Concept, *, vector: Tensor, site: Site, strength: float) -> Any:
    """Return by how much answers with the concept gained likelihood over those without, a token."""
    with_it, without = (
        gains(model, answers, vector=vector, site=site, strength=strength)
        for answers in concept.test
    )
    return interval([a - b for a, b in zip(with_it, without, strict=True)])


def gains(
    model: Model, answers: Sequence[Answer], *, vector: Tensor, site: Site, strength: float
) -> list[float]:
    prompts = [[{"role": "user", "content": one.prompt}] for one in answers]
    encoded = model.tokenizer.encode_batch([one.text for one in answers], special=False)
    ends = [one.offsets[:TOKENS][-1][1] for one in encoded]
    texts = [one.text[:end] for one, end in zip(answers, ends, strict=True)]
    plain = model.log_likelihood(prompts, texts)
    with model.intervene(endoscope.add(vector, strength, site=site)):
        changed = model.log_likelihood(prompts, texts)
    lengths = [min(TOKENS, len(one.ids)) for one in encoded]
    return [(b - a) / n for a, b, n in zip(plain, changed, lengths, strict=True)]


def written(
    model: Model,
    given: Sequence[Any],
    asked: Sequence[Any],
    *,
    vector: Tensor | None = None,
    site: Site | None = None,
    strength: float = 0.0,
) -> tuple[Writing, ...]:
    """Let the model answer, changed or not; the answers are read by the plain model."""
    change = (
        nullcontext()
        if vector is None
        else model.intervene(endoscope.add(vector, strength, site=site))
    )
    with change:
        texts = model.generate(given, max_tokens=TOKENS)
    return read(model, asked, texts)


def perplexity(texts: Sequence[Writing]) -> float:
    from math import exp

    return exp(sum(one.surprisal for one in texts) / sum(one.tokens for one in texts))


def repeated(texts: Sequence[Writing]) -> float:
    return sum(one.repeated for one in texts) / max(1, sum(one.fourgrams for one in texts))


def read_concepts(path: Path) -> tuple[list[Concept], list[str]]:
    """Return the concepts, and instructions that no concept is fitted on."""
    from pyarrow import parquet

    rows = parquet.read_table(path).to_pylist()
    random = Random(0)
    random.shuffle(rows)
    negatives: dict[str, list[Answer]] = {}
    for row in rows:
        if row["category"] == "negative":
            negatives.setdefault(row["concept_genre"], []).append(answer(row))
    prompts = [one.prompt for one in negatives["text"][:PROMPTS]]
    concepts = []
    for number in sorted({int(r["concept_id"]) for r in rows if r["category"] == "positive"}):
        mine = [r for r in rows if int(r["concept_id"]) == number]
        genre, positive = mine[0]["concept_genre"], [answer(row) for row in mine]
        others = [one for one in negatives[genre] if one.prompt not in prompts]
        half = min(len(positive) // 2, len(others) - HELD_OUT)
        train = positive[:half], others[:half]
        test = positive[half : half + HELD_OUT], others[half : half + HELD_OUT]
        kept_out = {*prompts, *(one.prompt for one in (*test[0], *test[1]))}
        background = [one for some in negatives.values() for one in some]
        background = [one for one in background if one.prompt not in kept_out]
        words = tuple(telling(train[0], background))
        concepts.append(Concept(number, mine[0]["output_concept"], train, test, words))
    return concepts, prompts


def answer(row: dict[str, Any]) -> Answer:
    return Answer(row["input"], row["output"][:CHARACTERS])


def telling(
    positive: Sequence[Answer], negative: Sequence[Answer], count: int = 20
) -> Iterator[str]:
    """Yield the words that set the first answers apart most, of those in a ninth of them or more.

    Told by the ratio of the shares of answers that have them.
    """
    with_it, without = (
        Counter(word for one in answers for word in set(re.findall(r"[a-z]{4,}", one.text.lower())))
        for answers in (positive, negative)
    )

    def weight(word: str) -> float:
        p, q = with_it[word] / len(positive), (without[word] + 0.5) / len(negative)
        return log(p / q)

    common = [word for word in with_it if 9 * with_it[word] >= len(positive)]
    yield from sorted(common, key=lambda word: (-weight(word), word))[:count]


if __name__ == "__main__":
    main()
