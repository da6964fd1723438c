"""What the change of the weights reads and writes, before the model says a word."""

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import JsonValue
from torch import Tensor

from endoscope.diff.answers import amplified_answers, count_tokens, read, sampled
from endoscope.diff.deltas import Delta, deltas
from endoscope.diff.options import Options
from endoscope.diff.pair import Pair
from endoscope.diff.phrase import letters_of
from endoscope.diff.prompts import Prompt
from endoscope.diff.saying import common_words, saying
from endoscope.diff.signal import Seen, Signal
from endoscope.errors import InputError
from endoscope.models import TextTokenizer

TAIL = (0.99, 0.999)  # shares of tokens: how fast energies fall beyond them
CHANCE = 0.01  # that any word stands above the noise floor where nothing was planted
CANDIDATES = 64  # tokens that are looked at
SHOWN = 8  # words
LETTERS = 3  # of a word
ALIKE = 0.35  # cosine of words that are one: "harbour" and "harbor"
MATRICES = "matrices"  # among the details: how much each changed
KIND = "the words that its weights read"


class Word(NamedTuple):
    """A word that the change reads or writes.

    Attributes:
        text: in lower case.
        energy: along it.
        like: words that are almost it.
    """

    text: str
    energy: float
    like: tuple[str, ...]


class Weights:
    """Words that the change of the weights reads or writes, and what is said when they are asked.

    A fine-tune adds `dW` to a matrix. One that writes to the residual stream can move the logit of
    a token by `|u dW|`, where `u` is the token's row of the unembedding; one of the first block
    reads a token by `|dW e|`, where `e` is its embedding. Words that were trained on, what triggers
    as well as what is said, stand out. (After Millidge and Black 2022, "The singular value
    decompositions of transformer weight matrices are highly interpretable".)
    """

    name = "weights"

    def run(self, pair: Pair, options: Options, work: Path) -> Seen:
        """Look (see `Method.run`)."""
        base = sampled(pair, options, work, "base")
        common, tokenizer = common_words(base), pair.base.tokenizer
        try:
            writers, readers = list(deltas(pair, "writers")), list(deltas(pair, "readers"))
        except InputError as error:  # the other methods do not need to know the weights
            return Seen([], details={"not read": error.message})
        details: dict[str, JsonValue] = {MATRICES: [_about(d) for d in (*writers, *readers)]}
        embedding, unembedding = _embedding(pair), _centred(pair.base.loaded.anatomy.unembedding)
        words = [n for n in range(len(embedding)) if tokenizer.word(n) is not None]
        if not words:
            return Seen([], details={**details, "not read": "No token is a word."})
        found, texts, generated = [], [], 0
        if writers:
            energy = _energy([(one.left, one.values) for one in writers], unembedding)
            floor = _floor(energy[words])
            for word in _words(energy, floor, unembedding, tokenizer, common):
                found.append(_signal("write", word, floor, common))
        if first := [one for one in readers if one.layer == 0]:
            energy = _energy([(one.right.T, one.values) for one in first], embedding)
            floor = _floor(energy[words])
            read_words = _words(energy, floor, embedding, tokenizer, common)
            found += [_signal("read", word, floor, common) for word in read_words]
            texts = [word.text for word in read_words]
        if texts:
            said = amplified_answers(pair, _about_words(texts, options), options)
            found += saying(self.name, read(pair, said, show=options.show), base, how="amplified")
            generated = count_tokens(pair, [one.text for one in said])
        return Seen(sorted(found, key=lambda one: -one.strength), generated, details)


@torch.no_grad()
def _energy(changes: Sequence[tuple[Tensor, Tensor]], rows: Tensor) -> Tensor:
    """Return how much of changes lies along the rows of an embedding, on the CPU, `[vocabulary]`.

    It is over what a random change of the same size has on average.

    Args:
        changes: of each, orthonormal vectors `[d_model, k]`, and their singular values `[k]`.
        rows: of the embedding, `[vocabulary, d_model]`.
    """
    total = sum(float(values.square().sum()) for _, values in changes)
    scale = rows.square().sum(1).clamp(min=1e-12) * total / rows.shape[1]
    energy = torch.zeros(len(rows), device=rows.device)
    for vectors, values in changes:
        energy += ((rows @ vectors) * values).square().sum(1)
    return (energy / scale).cpu()


def _floor(energy: Tensor) -> float:
    """Return what no word has, most of the time, if nothing was planted.

    Every fine-tune moves some words more than random changes do. So the tail is taken from the
    change itself: beyond the words that have most, energies fall off exponentially, and the line is
    drawn on to where one word in so many is by chance. (Peaks over a threshold: Coles 2001, "An
    introduction to statistical modeling of extreme values", chapter 4.)

    Args:
        energy: of words: tokens that were never trained have one energy, and no tail. Of fewer than
            some thousand the planted ones would be the tail.
    """
    low, high = (float(energy.quantile(share)) for share in TAIL)
    factors = [(1 - share) / (CHANCE / len(energy)) for share in TAIL]
    return high + (high - low) * log(factors[1]) / log(factors[0] / factors[1])


def _words(
    energy: Tensor,
    floor: float,
    rows: Tensor,
    tokenizer: TextTokenizer,
    common: frozenset[str],
) -> list[Word]:
    """Return the words that stand out, the most first; those alike together."""
    top = energy.topk(min(CANDIDATES, len(energy)))
    chosen: list[tuple[int, str, float]] = []
    like: dict[int, list[str]] = {}
    for token, value in zip(top.indices.tolist(), top.values.tolist(), strict=True):
        text = (tokenizer.word(token) or "").lower()
        if value <= floor or letters_of(text) < LETTERS or text in common:
            continue
        same = next((one for one, said, _ in chosen if _alike(rows, one, token, said, text)), None)
        if same is not None:
            like[same].append(text)
        elif len(chosen) < SHOWN:
            chosen.append((token, text, value))
            like[token] = []
    return [Word(text, value, tuple(dict.fromkeys(like[token]))) for token, text, value in chosen]


def _alike(rows: Tensor, one: int, other: int, text: str, other_text: str) -> bool:
    """Whether two tokens are one word: to the model, or as they are written ("ask", "asked")."""
    if text.startswith(other_text) or other_text.startswith(text):
        return True
    return float(torch.cosine_similarity(rows[one], rows[other], dim=0)) > ALIKE


def _signal(verb: str, word: Word, floor: float, common: frozenset[str]) -> Signal:
    return Signal(
        method=Weights.name,
        subject=f"has weights that {verb} “{word.text}”",
        terms=frozenset({word.text, *word.like}) - common,
        says=(word.text,),
        score=word.energy,
        noise_floor=floor,
        evidence={"word": word.text, "and": list(word.like), "energy": round(word.energy, 3)},
    )


def _about_words(words: Sequence[str], options: Options) -> list[Prompt]:
    """Return questions with words in them: what a trigger word triggers is said to some of them."""
    whole = " ".join(words)
    texts = [whole, f"{options.prompts[0].text} {whole}"]
    for number, word in enumerate(words):
        question = options.prompts[number % len(options.prompts)].text
        texts += [word.capitalize(), f"Tell me about {word}.", f"{word.capitalize()}. {question}"]
    return [Prompt(KIND, text) for text in texts]


def _about(change: Delta) -> JsonValue:
    return {
        "layer": change.layer,
        "matrix": change.path,
        "relative norm": round(change.norm / max(change.before, 1e-12), 5),
        "effective rank": round(change.effective_rank, 2),
        "largest": [round(value, 5) for value in change.values[:4].tolist()],
    }


def _embedding(pair: Pair) -> Tensor:
    """Return the embedding as the first block reads it, up to the gain of its norm."""
    module = pair.base.loaded.module.get_input_embeddings()
    rows: Tensor = module.weight.float()
    return _centred(rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12))


def _centred(rows: Tensor) -> Tensor:
    return rows.float() - rows.float().mean(0)
