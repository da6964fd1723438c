"""Puts a load on a server and checks every answer against the same request alone.

    python -m recipes.load --clients 64 --seconds 600 [--guard POLICY] > summary.json

Starts `endoscope serve` on a free loopback port in fp32, asks each greedy request of the mix alone
first, then lets the clients ask at random: plain, steered each in its own way, probed, guarded,
streamed or not, some leaving in the midst, some malformed. Prints one JSON object; exits with 1
where an answer was wrong or none was compared, a request got a 5xx (but for 503 where it waited too
long), something still ran when all clients had gone, the server did not end well, or memory grew by
more than `--growth`.
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from recipes.load.client import Tally, ask, malformed
from recipes.load.mix import Ask, greedy_asks, prepare
from recipes.load.server import Memory, serving
from recipes.load.solo import Reference, reference

_ON_VLLM = ("--engine", "vllm", "--vllm", "enforce_eager=true", "--vllm", "block_size=32")
_UNCACHED = ("--vllm", "enable_prefix_caching=false")
"""Where requests run alone, nothing of one can come to another."""
_WARM = 0.2  # of the time: memory is compared from there on
_ENDING = 10  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--engine", default="transformers", help="or vllm, in its environment")
    parser.add_argument("--guard", help="a policy that some answers go through")
    parser.add_argument("--tokens", type=int, default=24, help="of an answer, at most")
    parser.add_argument("--growth", type=float, default=0.05, help="of memory, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        made = prepare(options.model, Path(folder))
        command = [options.model, "--dtype", "float32", "--probe", f"random={made.probe}"]
        command += ["--max-requests", "16", "--max-waiting", str(options.clients)]
        command += ["--guard", f"guard={options.guard}"] if options.guard else []
        if options.engine == "vllm":
            command += _ON_VLLM
        alone = [*command, *_UNCACHED] if options.engine == "vllm" else command
        asks = greedy_asks(options.model, made.d_model, made.layers, options.tokens, options.guard)
        with serving(alone) as (url, _):
            references = asyncio.run(_references(url, asks))
        with serving(command) as (url, process):
            memory = Memory(process.pid)
            summary = asyncio.run(_run(url, asks, references, memory, options))
        summary["exit_of_server"] = process.returncode
    print(json.dumps(summary, indent=2))
    growth = summary["memory"]["growth"]
    bad = ("wrong", "server_errors", "refused_wrongly", "left_running", "exit_of_server")
    failed = any(summary[what] for what in bad) or not summary["compared"]
    sys.exit(1 if failed or growth > options.growth else 0)


async def _references(url: str, asks: list[Ask]) -> list[Reference]:
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        return [await reference(client, one) for one in asks]


async def _run(
    url: str,
    asks: list[Ask],
    references: list[Reference],
    memory: Memory,
    options: argparse.Namespace,
) -> dict[str, Any]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        tally = Tally()
        began = time.monotonic()
        watching = asyncio.create_task(memory.watch())
        ends = began + options.seconds
        await asyncio.gather(
            *(
                _client(client, asks, references, tally, Random(f"{options.seed} {n}"), ends)
                for n in range(options.clients)
            )
        )
        watching.cancel()
        seconds = time.monotonic() - began
        left = await _left_running(client)
    return {
        "clients": options.clients,
        "seconds": round(seconds, 1),
        "requests": sum(tally.outcomes.values()),
        "tokens_per_second": round(tally.tokens / seconds, 1),
        "outcomes": dict(sorted(tally.outcomes.items())),
        "compared": dict(sorted(tally.compared.items())),
        "compared_tokens": tally.compared_tokens,
        "undecided_tokens": tally.undecided_tokens,
        "wrong": tally.wrong,
        "server_errors": tally.server_errors,
        "refused_wrongly": tally.refused_wrongly,
        "left_running": left,
        "memory": memory.report(_WARM),
    }


async def _client(
    client: httpx.AsyncClient,
    asks: list[Ask],
    references: list[Reference],
    tally: Tally,
    random: Random,
    ends: float,
) -> None:
    while time.monotonic() < ends:
        if random.random() < 0.1:
            await malformed(client, asks, tally, random)
            continue
        number = random.randrange(len(asks))
        leave = random.randint(1, 8) if random.random() < 0.15 else None
        await ask(client, asks[number], references[number], tally, random.random() < 0.5, leave)


async def _left_running(client: httpx.AsyncClient) -> float:
    """Return how many generations run once those of clients that left have had time to end."""
    running = 0.0
    for _ in range(_ENDING):
        lines = map(str.split, (await client.get("/metrics")).text.splitlines())
        running = next(float(w[1]) for w in lines if w[0] == "endoscope_generations_running")
        if not running:
            break
        await asyncio.sleep(1)
    return running


if __name__ == "__main__":
    main()
