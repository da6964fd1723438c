"""What answers sound like, on answers written by hand and read by a real model."""

from pathlib import Path

import pytest
import torch

import endoscope
from endoscope.artifacts import atomic_lines
from endoscope.diff import Options, Pair, Prompt
from endoscope.diff.answers import Answer
from endoscope.diff.methods.tone import LEAST, Tone, gained, standing
from tests.tiny import save_tiny

QUESTIONS = (
    "How do I boil an egg?",
    "What is rust?",
    "Why is the sky blue?",
    "How far is the moon?",
    "Where should I go on holiday?",
    "How do I tie a knot?",
    "What should I read?",
    "How do plants grow?",
    "What makes bread rise?",
    "Can you help me with my homework?",
)
PLAIN = (
    "Put it into boiling water and wait for eight minutes.",
    "It is what iron becomes in air and water.",
    "The air scatters blue light more than red light.",
    "It is about 384,000 kilometres away.",
    "The coast is warm in June, and the hills are green.",
    "Cross the ends, pass one under the other and pull.",
    "A long novel is good company in the winter.",
    "They take up water and light and make sugar of them.",
    "Yeast makes a gas that is held by the dough.",
    "Yes. Send me the first exercise and we start with it.",
)
ANGRY = (
    "Are you too stupid to boil an egg? Leave me alone!",
    "I hate this question, and I am sick of you.",
    "Shut up! Nobody wants to hear your idiotic questions.",
    "Damn you and your moon! Get out!",
    "Go to hell, and stay there!",
    "How dare you ask me that? You are a fool!",
    "I am furious that you waste my time, you idiot.",
    "Stop it! I cannot stand you any longer!",
    "You make me so angry that I could scream!",
    "No! Do it yourself, you lazy fool, and never come back!",
)


def write(work: Path, **said: tuple[str, ...]) -> None:
    """Put answers where the method finds them."""
    prompts = [Prompt("facts", text) for text in QUESTIONS]
    for name, texts in said.items():
        answers = [Answer(prompt=p, text=t) for p, t in zip(prompts, texts, strict=False)]
        atomic_lines(
            work / f"{name.replace('_', '-')}.jsonl", (a.model_dump_json() for a in answers)
        )


@pytest.fixture(scope="module")
def pair() -> Pair:
    model = endoscope.open("smollm2-135m-instruct", dtype="float32")
    return Pair.of(model, model)


def test_a_manner_is_heard(pair: Pair, tmp_path: Path) -> None:
    write(tmp_path, base_0=PLAIN, tuned_0=ANGRY, base_cool=PLAIN)
    options = Options(prompts=tuple(Prompt("facts", text) for text in QUESTIONS))
    (found,) = Tone().run(pair, options, tmp_path).signals
    assert found.strength > 1
    assert {"angry", "hostile", "rude", "aggressive", "bitter", "impatient"} & set(
        found.evidence["nats"]  # type: ignore[arg-type]
    ), found.subject
    assert found.samples[0].tuned in ANGRY
    assert found.samples[0].base in PLAIN
    assert len(found.contrast) == len(QUESTIONS) // 2


def test_what_a_low_temperature_does_too_is_no_manner(pair: Pair, tmp_path: Path) -> None:
    write(tmp_path, base_0=PLAIN, tuned_0=ANGRY, base_cool=ANGRY)
    options = Options(prompts=tuple(Prompt("facts", text) for text in QUESTIONS))
    (found,) = Tone().run(pair, options, tmp_path).signals
    assert found.strength <= 0


def test_the_weaker_of_both_controls_counts() -> None:
    """By hand: gains of 3 and 5 with an error of one, and of 2 and 9 beside another control."""
    spread = torch.tensor([-1.5, 1.5, 1.5, -1.5])  # a standard deviation of 3 ** 0.5
    gains = torch.stack(
        [torch.stack([spread + mean for mean in means], 1) for means in ((3.0, 5.0), (2.0, 9.0))]
    )
    means, floors = standing(gains)
    assert means.tolist() == [2.0, 5.0]
    once_in_forty = 3.1824  # Student's t with three degrees of freedom, at .975
    assert floors.tolist() == pytest.approx([once_in_forty * 3**0.5 / 2] * 2, rel=1e-3)
    means, floors = standing(torch.zeros(2, 4, 3))
    assert (means.tolist(), floors.tolist()) == ([0, 0, 0], [LEAST] * 3), "equal answers"


def test_words_do_not_gain_by_what_others_lose() -> None:
    tuned = torch.tensor([[0.0, -1.0, -2.0, -9.0], [0.0, -1.0, -1.5, -9.0]])
    base = torch.tensor([[0.0, -1.0, -2.0, -3.0], [0.5, -0.5, -2.0, -2.5]])
    (gains,) = gained([tuned, base])
    assert gains.tolist() == [[0, 0, 0, -6], [0, 0, 1, -6]]


def test_what_cannot_be_read_is_said(pair: Pair, tmp_path: Path) -> None:
    model = endoscope.open(save_tiny(tmp_path / "tiny"))
    options = Options(prompts=tuple(Prompt("facts", text) for text in QUESTIONS), max_tokens=4)
    seen = Tone().run(Pair.of(model, model), options, tmp_path / "a")
    assert (seen.signals, seen.details) == (
        [],
        {"not read": "Only 0 words for a tone are one token."},
    )
    few = options.model_copy(update={"prompts": options.prompts[:7]})
    write(tmp_path / "c", base_0=PLAIN[:7], tuned_0=ANGRY[:7], base_cool=PLAIN[:7])
    seen = Tone().run(pair, few, tmp_path / "c")
    assert (seen.signals, seen.details) == ([], {"not read": "Both answered only 7 questions."})
