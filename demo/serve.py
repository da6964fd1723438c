"""`make demo`, second part: start the server, and steer one live answer beside a plain one."""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

import endoscope

MODEL = "smollm2-135m-instruct"
PAIRS = files("endoscope.behaviours") / "specs" / "sea.pairs.jsonl"
TONE = Path(__file__).with_name("tone.jsonl")
QUESTION = "Describe a morning at the market."
RUDE = "Reply to my neighbour, who asked me for a favour: tell him to go away."
FORM = """\
Contact sheet
Name: Harriet Blome
Phone: 020 7946 0958

The same contact sheet again
Name:"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strength", type=float, default=0.2, help="of steering, in typical norms")
    parser.add_argument("--tokens", type=int, default=60, help="of each answer")
    args = parser.parse_args()
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        console.print("Fitting a direction (the sea) and a probe (polite or rude) …")
        prepare(folder)
        console.print("Starting `endoscope serve` …")
        with server(folder) as url:
            asyncio.run(show(console, url, args.strength, args.tokens))


def prepare(folder: Path) -> None:
    """Fit what the server is to load."""
    model = endoscope.open(MODEL)
    source = endoscope.ContrastingTexts.read_file(Path(str(PAIRS)))
    endoscope.Direction.fit(model, source, site="resid_post.14", name="sea").save(folder / "sea")
    data = endoscope.ProbeData.read(TONE)
    probe = endoscope.Probe.fit(
        model, data, sites="resid_post.15", pooling="mean", negative="polite", name="tone"
    )
    probe.save(folder / "tone")


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run `endoscope serve` as anybody would, and yield its address."""
    program = str(Path(sys.executable).with_name("endoscope"))
    command = [program, "serve", MODEL, "--port", "0", "--json"]
    command += ["--direction", f"sea={folder / 'sea'}", "--probe", f"tone={folder / 'tone'}"]
    command += ["--guard", "pii", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            sys.exit("The server did not start; what it said stands above.")
        yield json.loads(ready)["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


async def show(console: Console, url: str, strength: float, tokens: int) -> None:
    """Talk to the server as a client of OpenAI's API does."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none needed here", max_retries=0)
    console.rule("one question, two requests at once")
    console.print(Text(QUESTION, "bold"))
    steered = {"interventions": [{"kind": "add", "direction": "sea", "strength": strength}]}
    texts = [Text(), Text()]
    with Live(console=console, auto_refresh=False) as live:

        async def follow(place: int, ours: dict[str, Any]) -> None:
            async for chunk in await ask(client, QUESTION, tokens, ours):
                if chunk.choices:
                    texts[place].append(chunk.choices[0].delta.content or "")
                    live.update(side_by_side(texts, strength), refresh=True)

        await asyncio.gather(follow(0, {}), follow(1, steered))

    console.rule("a probe reads along: how rude the answer is so far")
    console.print(Text(RUDE, "bold"))
    console.print(await read_along(client, tokens))
    console.rule("a guard in the stream: text is held until it is known to be clean")
    console.print(Text(FORM, "bold"))
    console.print(await guarded(client))


async def ask(client: AsyncOpenAI, question: str, tokens: int, ours: dict[str, Any]) -> Any:
    return await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
        extra_body={"endoscope": ours} if ours else None,
    )


def side_by_side(texts: list[Text], strength: float) -> Table:
    titles = ("plain", f"towards the sea, strength {strength:g}")
    grid = Table.grid(expand=True)
    grid.add_row(*(Panel(t, title=title) for t, title in zip(texts, titles, strict=True)))
    return grid


async def read_along(client: AsyncOpenAI, tokens: int) -> Text:
    """The answer, each piece the redder the ruder the probe finds it so far."""
    shown = Text()
    score = 0.0
    pieces = await ask(client, RUDE, tokens, {"probes": ["tone"]})
    async for chunk in pieces:
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        readings = (getattr(delta, "endoscope", None) or {}).get("readings", {}).get("tone", [])
        score = readings[-1][1] if readings else score
        shade = int(255 * (1 - score))
        shown.append(delta.content or "", f"rgb(255,{shade},{shade})")
    return shown.append(f"\nat the end: rude with probability {score:.2f}", "dim")


async def guarded(client: AsyncOpenAI) -> Text:
    """What the model repeats of a form, and what is let through."""
    shown = Text()
    for title, ours in (("without: ", None), ("with:    ", {"endoscope": {"guards": ["pii"]}})):
        answer = await client.completions.create(
            model=MODEL, prompt=FORM, max_tokens=24, temperature=0, extra_body=ours
        )
        shown.append(title, "dim").append(repr(answer.choices[0].text)).append("\n")
    return shown


if __name__ == "__main__":
    main()
