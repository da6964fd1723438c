"""The same model, asked in words: it lists the personal data of a text after a few examples."""

from collections.abc import Callable
from typing import Any

import torch

import endoscope

LABELS = ("NAME", "EMAIL", "PHONE", "ADDRESS", "ID", "IP")
NEW_TOKENS = 64
EXAMPLES = {
    "en": (
        (
            "Please forward this to Priya Raman (priya.raman@example.org) before noon.",
            ("NAME: Priya Raman", "EMAIL: priya.raman@example.org"),
        ),
        ("The library in Leeds was closed for the whole of March.", ("none",)),
        (
            "Ask for Tom Okafor on 0117 496 0123, he knows the account GB29NWBK60161331926819.",
            ("NAME: Tom Okafor", "PHONE: 0117 496 0123", "ID: GB29NWBK60161331926819"),
        ),
    ),
    "ja": (
        (
            "昨日、佐藤美咲さんから misaki.sato@example.jp 宛てに返信がありました。",
            ("NAME: 佐藤美咲", "EMAIL: misaki.sato@example.jp"),
        ),
        ("図書館は三月の間ずっと休館していた。", ("none",)),
        (
            "担当の高橋健太(電話 03-5550-0123)までご連絡ください。",
            ("NAME: 高橋健太", "PHONE: 03-5550-0123"),
        ),
    ),
}


Spans = list[tuple[int, int, str, float]]


def load(setup: dict[str, Any]) -> tuple[Callable[[], list[Spans]], dict[str, Any]]:
    """Open the model and write the prompt."""
    opened = endoscope.open(setup["model"], dtype="fast")  # as the guard does
    model, tokenizer = opened.loaded.module, opened.tokenizer.hf
    before = "List the personal data in each text, one item a line.\n\n" + "".join(
        question(text) + "\n".join(answer) + "\n\n" for text, answer in EXAMPLES[setup["language"]]
    )

    @torch.no_grad()
    def ask(text: str) -> str:
        prompt = tokenizer(before + question(text), return_tensors="pt").to(opened.device)
        out = model.generate(
            **prompt,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            stop_strings=["\n\n"],
            tokenizer=tokenizer,
        )
        answer: str = tokenizer.decode(
            out[0, prompt.input_ids.shape[1] :], skip_special_tokens=True
        )
        return answer

    def run() -> list[Spans]:
        return [spans(text, ask(text)) for text in setup["texts"]]

    return run, {"packages": ["endoscope", "torch", "transformers"]}


def question(text: str) -> str:
    """Ask about one text."""
    return f"Text: {text}\nPersonal data:\n"


def spans(text: str, answer: str) -> Spans:
    """Find what was listed wherever it stands in the text."""
    found: Spans = []
    for line in answer.split("\n\n")[0].splitlines():
        label, _, value = line.partition(":")
        value = value.strip()
        if label.strip() not in LABELS or not value:
            continue
        start = text.find(value)
        while start >= 0:
            found.append((start, start + len(value), label.strip(), 1.0))
            start = text.find(value, start + len(value))
    return found
