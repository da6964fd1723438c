"""`make demo`: scrub a page of English and Japanese, and show what the probe saw."""

import argparse
import time
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

import endoscope
from endoscope.guard import Redaction, Span
from endoscope.readouts import TokenScores

PAGE = Path(__file__).with_name("page.txt")
COLOURS = {
    "NAME": "green",
    "ADDRESS": "yellow",
    "PHONE": "cyan",
    "EMAIL": "blue",
    "ID": "magenta",
    "DATE_OF_BIRTH": "bright_yellow",
    "USERNAME": "bright_cyan",
    "SECRET": "red",
    "IP": "bright_magenta",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="another text file to scrub")
    parser.add_argument("--picture", type=Path, help="also write what is shown as an SVG file")
    args = parser.parse_args()
    console = Console(record=args.picture is not None, width=100)
    text = args.page.read_text(encoding="utf-8")

    console.print("Opening the guard (the first time, its model is fetched and converted) …")
    guard = endoscope.Guard.load("pii")
    guard.scan("warm up")
    if args.picture:
        console.export_text(clear=True)

    began = time.perf_counter()
    result = guard.redact(text)
    seconds = time.perf_counter() - began

    console.print(
        Panel(coloured(text, result.spans), title="what the guard found", title_align="left")
    )
    console.print(legend(result.spans))
    console.print(Panel(result.redacted, title="what it lets through", title_align="left"))
    if args.picture:
        console.save_svg(str(args.picture), title="endoscope guard")

    console.print(Panel(seen(guard, text, result), title="what the probe saw", title_align="left"))
    console.print(
        f"{len(text):,} characters in {seconds * 1000:,.0f} ms "
        f"({len(text) / seconds:,.0f} characters a second); {len(result.spans)} spans."
    )


def coloured(text: str, spans: list[Span]) -> Text:
    """The text with each span in its colour, the fainter the less sure."""
    shown = Text(text)
    for span in spans:
        strength = (
            "bold reverse" if span.score > 0.9 else "reverse" if span.score > 0.6 else "underline"
        )
        shown.stylize(f"{COLOURS[span.label]} {strength}", span.start, span.end)
    return shown


def legend(spans: list[Span]) -> Text:
    """The colours in use, and what strength means."""
    shown = Text()
    for label in dict.fromkeys(span.label for span in spans):
        shown.append(f" {label} ", f"{COLOURS[label]} reverse").append(" ")
    return shown.append("  bold: score over 0.9 · plain: over 0.6 · underlined: less", "dim")


def seen(guard: endoscope.Guard, text: str, result: Redaction) -> Group:
    """Every token of the lines that hold a name, with the probability that it is something."""
    lines: list[Text] = []
    start = 0
    for line in text.splitlines(keepends=True):
        spans = [s for s in result.spans if start <= s.start < start + len(line)]
        if any(span.label == "NAME" for span in spans) and len(lines) < 3:
            lines.append(tokens(line.rstrip("\n"), guard.scores(line)))
        start += len(line)
    return Group(*lines)


def tokens(line: str, scores: TokenScores) -> Text:
    """One line, token by token: `token` then label and probability where it is not nothing."""
    shown = Text()
    for (start, end), probabilities in zip(
        scores.offsets.tolist(), scores.probabilities.tolist(), strict=True
    ):
        best = max(range(1, len(scores.labels)), key=probabilities.__getitem__)
        probability = probabilities[best]
        label = scores.labels[best]
        shown.append(line[start:end], f"{COLOURS[label]} bold" if probability > 0.5 else "dim")
        if probability > 0.05:
            shown.append(f"{label.lower()}:{probability:.2f}", f"{COLOURS[label]} italic")
        shown.append("│", "bright_black")
    return shown.append("\n")


if __name__ == "__main__":
    main()
