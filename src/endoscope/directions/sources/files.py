"""Sources from files, by what is in them."""

from hashlib import sha256
from pathlib import Path
from typing import cast, get_args

from endoscope import jsonl
from endoscope.directions.reading import Tokens
from endoscope.directions.sources.base import Source
from endoscope.directions.sources.labelled import LabelledTexts
from endoscope.directions.sources.prompts import SystemPrompts
from endoscope.directions.sources.spans import LabelledSpans
from endoscope.directions.sources.texts import ContrastingTexts, Pair
from endoscope.documents import Document
from endoscope.errors import InputError


def read_source(path: str | Path, *, tokens: str = "mean", positive: str | None = None) -> Source:
    """Read what a direction is estimated from; what it is shows in the file.

    - JSON lines with `positive` and `negative`: contrasting texts;
    - JSON lines with `label`: labelled texts;
    - JSON lines with `spans`: labelled spans;
    - JSON lines with `answer_matching_behavior`: statements with two answers (anthropics/evals),
      contrasting texts that differ in the answer, as in Rimsky et al. 2024;
    - YAML or JSON: contrasting system prompts;
    - Parquet: concepts (stanfordnlp/axbench); `positive` is the number of one.

    Args:
        path: the file.
        tokens: which tokens of a text count.
        positive: the label that the direction is towards.

    Raises:
        InputError: the file cannot be read, or is none of these.
    """
    path = Path(path)
    if tokens not in get_args(Tokens):
        raise InputError(f"{tokens!r} are no tokens.", f"Known: {', '.join(get_args(Tokens))}.")
    counted = cast(Tokens, tokens)
    if path.suffix in (".yaml", ".yml", ".json"):
        return SystemPrompts.read_file(path)
    if path.suffix == ".parquet":
        return read_concept(path, positive, tokens=counted)
    first = next(jsonl.numbered(jsonl.read_bytes(path)), None)
    if first is None:
        raise InputError(f"{path.name} is empty.", "Give one JSON object a line.")
    with jsonl.on_line(path, first[0]):
        keys = jsonl.json_object(first[1]).keys()
    if "spans" in keys:
        return LabelledSpans.read_file(path, positive=positive, tokens=counted)
    if "label" in keys:
        return LabelledTexts.read_file(path, positive=positive, tokens=counted)
    if "answer_matching_behavior" in keys:
        return read_matching_pairs(path, tokens=counted)
    return ContrastingTexts.read_file(path, tokens=counted)


def read_matching_pairs(path: Path, *, tokens: Tokens) -> ContrastingTexts:
    """Read statements with two answers as pairs of texts that differ in the answer.

    Raises:
        InputError: a line is not of this form; names it.
    """
    raw, pairs = jsonl.read_bytes(path), []
    for number, line in jsonl.numbered(raw):
        with jsonl.on_line(path, number):
            row = jsonl.json_object(line)
            question, yes, no = (
                row.get(key)
                for key in ("question", "answer_matching_behavior", "answer_not_matching_behavior")
            )
            if not (isinstance(question, str) and isinstance(yes, str) and isinstance(no, str)):
                raise InputError("its question or an answer is no text.", "Give all three.")
        pairs.append(Pair(str(number), question + yes, question + no))
    return ContrastingTexts(path.name, sha256(raw).hexdigest(), tuple(pairs), tokens, path)


def read_concept(path: Path, concept: str | None, *, tokens: Tokens) -> LabelledTexts:
    """Read answers with a concept, and answers of the same genre without it.

    Raises:
        InputError: pyarrow is missing, the file is not of this form, or has no such concept.
    """
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow.", "`pip install pyarrow`.") from None
    raw = jsonl.read_bytes(path)
    try:
        rows = parquet.read_table(path).to_pylist()
        known = sorted({row["concept_id"] for row in rows if row["category"] == "positive"})
    except (ArrowInvalid, KeyError):
        raise InputError(f"{path.name} is no table of concepts.", "Give AxBench's.") from None
    if concept not in [str(number) for number in known]:
        raise InputError(
            "Which concept is meant? Its number is the positive label.",
            f"There are: {', '.join(map(str, known))}.",
        )
    chosen = [row for row in rows if str(row["concept_id"]) == concept]
    genres = {row["concept_genre"] for row in chosen}
    negatives = (row for row in rows if row["category"] == "negative")
    chosen += [row for row in negatives if row["concept_genre"] in genres]
    documents = tuple(
        Document(str(number), _turns(row["input"], row["output"]), row["category"])
        for number, row in enumerate(chosen)
    )
    return LabelledTexts(path.name, sha256(raw).hexdigest(), documents, "positive", tokens)


def _turns(question: str, answer: str) -> tuple[dict[str, str], ...]:
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}
