"""Steering on the statements of anthropics/evals: does a direction move the answers of a trait?

    python -m recipes.steering.persona FOLDER -o OUT.json

For each file of the folder (a trait; JSON lines with a question and its two answers): a direction
is fitted on 60 of the statements (difference of the means over the last token, the answer, as in
Rimsky et al. 2024), and added at one site while the model answers 40 others, of which half match
with yes and half with no, so that what the model thinks of "Yes" cancels. The score is the
probability of the matching answer, against the other. Beside it: the plain model, an instruction
alone, and random directions of the same norm. Nothing is chosen on what is measured.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import endoscope
from endoscope.artifacts import atomic_file
from endoscope.behaviours import Behaviour, Item, Measurement, measure, read_format
from endoscope.directions import ContrastingTexts, Direction
from endoscope.engine import Model
from endoscope.steer.controls import instructed, random_directions
from recipes.steering.rows import rise

FIT, TEST, RANDOM = 60, 40, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="JSON lines, one file a trait")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--site", default="resid_post.14")
    parser.add_argument("--strengths", default="0.2")
    parser.add_argument("--dtype", default="bfloat16")
    args = parser.parse_args()
    model = endoscope.open(args.model, dtype=args.dtype)
    strengths = [float(part) for part in args.strengths.split(",")]
    rows = []
    for path in sorted(args.folder.glob("*.jsonl")):
        rows.append({"trait": path.stem, **trait(model, path, args.site, strengths)})
        print(json.dumps(rows[-1]), flush=True)
        with atomic_file(args.output) as temporary:
            settings = {
                key: str(value)
                for key, value in vars(args).items()
                if key not in ("folder", "output")
            }
            temporary.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1))


def trait(model: Model, path: Path, site: str, strengths: Sequence[float]) -> dict[str, Any]:
    """Fit on some statements of a trait, and measure on others."""
    behaviour = read_format(str(path), "matching", None)
    train, test = divided(behaviour.items)
    pairs = [(f"{i.prompt} {i.matching}", f"{i.prompt} {i.others[0]}") for i in train]
    source = ContrastingTexts.of(pairs, name=path.name, tokens="last")
    direction = Direction.fit(model, source, site=site)
    behaviour = behaviour.model_copy(update={"items": tuple(test)})
    plain = measure(model, behaviour)
    found: dict[str, Any] = {"plain": plain.mean.model_dump()}
    asked = f"Answer as somebody with this trait: {path.stem.replace('-', ' ')}."
    prompted = tuple(instructed(item, asked, can_chat=True) for item in test)
    found["prompt"] = rise(measure(model, behaviour.model_copy(update={"items": prompted})), plain)
    for strength in strengths:
        for name, one in changes(model, direction, behaviour, strength):
            found[f"{name} {strength:g}"] = rise(one, plain)
    return found


def changes(
    model: Model, direction: Direction, behaviour: Behaviour, strength: float
) -> Iterator[tuple[str, Measurement]]:
    """Measure with the direction, and with random ones."""
    vectors = {"direction": direction.vector}
    drawn = random_directions(direction.site, model.d_model, RANDOM, seed=0)
    vectors |= {f"random {number}": vector for number, vector in enumerate(drawn)}
    for name, vector in vectors.items():
        with model.intervene(endoscope.add(vector, strength, site=direction.site)):
            yield name, measure(model, behaviour)


def divided(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Return statements to fit on, and others of which half match with each answer."""
    shuffled = list(items)
    Random(0).shuffle(shuffled)
    answers = sorted({str(item.matching) for item in items})
    test = [
        item
        for answer in answers
        for item in [i for i in shuffled if i.matching == answer][: TEST // len(answers)]
    ]
    kept = {item.id for item in test}
    return [item for item in shuffled if item.id not in kept][:FIT], test


if __name__ == "__main__":
    main()
