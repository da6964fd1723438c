"""One request and what came of it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from recipes.load.mix import Ask
from recipes.load.solo import Heard, Reference, differs

_MOST_WRONG = 20


@dataclass
class Tally:
    """What all clients have seen."""

    outcomes: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    compared_tokens: int = 0
    undecided_tokens: int = 0
    tokens: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)
    server_errors: Counter[str] = field(default_factory=Counter)
    refused_wrongly: Counter[str] = field(default_factory=Counter)


async def ask(
    client: httpx.AsyncClient,
    one: Ask,
    known: Reference,
    tally: Tally,
    stream: bool,
    leave: int | None,
) -> None:
    """Ask, perhaps go away after a few pieces, and compare what came with the solo answer."""
    heard = Heard()
    try:
        if stream or leave is not None:
            status, whole = await _streamed(client, one, heard, leave)
        else:
            response = await client.post(one.path, json=one.body)
            status, whole = response.status_code, True
            if status == 200:
                heard.take(response.json()["choices"][0])
            else:
                heard.refused = response.json()["error"]["code"]
    except httpx.HTTPError as error:
        tally.server_errors[type(error).__name__] += 1
        return
    tally.outcomes[f"{one.kind} {status}{'' if whole else ' left'}"] += 1
    if status != 200:
        if status != 429 and heard.refused != "timeout":  # both: too much at once
            tally.server_errors[f"{one.kind} {status}"] += 1
        return
    tally.tokens += len(heard.tokens)
    tally.compared[one.kind] += 1
    tally.compared_tokens += min(known.certain, len(heard.tokens))
    tally.undecided_tokens += max(0, len(heard.tokens) - known.certain)
    problem = differs(heard, known, all_of_it=whole)
    if problem is not None and len(tally.wrong) < _MOST_WRONG:
        tally.wrong.append({"kind": one.kind, "what": problem, "body": _short(one.body)})


async def _streamed(
    client: httpx.AsyncClient, one: Ask, heard: Heard, leave: int | None
) -> tuple[int, bool]:
    """Return the status, and whether the answer was heard to its end."""
    pieces = 0
    async with client.stream("POST", one.path, json=one.body | {"stream": True}) as response:
        if response.status_code != 200:
            heard.refused = json.loads(await response.aread())["error"]["code"]
            return response.status_code, True
        async for line in response.aiter_lines():
            data = line.removeprefix("data: ")
            if not line or data == "[DONE]":
                continue
            chunk = json.loads(data)
            if "error" in chunk:
                return 500, True
            for choice in chunk["choices"]:
                heard.take(choice)
            pieces += 1
            if leave is not None and pieces >= leave:
                return 200, False
    return 200, True


def _short(body: dict[str, Any]) -> str:
    return json.dumps(body)[:300]


_BAD: tuple[tuple[int, Any], ...] = (
    (400, b"{"),
    (400, b'{"model": NaN}'),
    (400, b"[" * 50_000),
    (400, {"messages": "x"}),
    (404, {"model": "nobody"}),
    (400, {"tools": [{}]}),
    (400, {"endoscope": {"interventions": [{"kind": "exec", "code": "1"}]}}),
    (400, {"endoscope": {"interventions": [{"kind": "add", "site": "x.1", "strength": 1}]}}),
    (
        400,
        {
            "endoscope": {
                "interventions": [
                    {"kind": "add", "site": "resid_post.1", "strength": 1e9, "vector": [1.0]}
                ]
            }
        },
    ),
    (404, {"endoscope": {"probes": ["nobody"]}}),
    (413, {"user": "x" * 5_000_000}),
)


async def malformed(
    client: httpx.AsyncClient, asks: list[Ask], tally: Tally, random: Random
) -> None:
    """Send something bad, and see that it is refused as it should be."""
    number = random.randrange(len(_BAD))
    expected, bad = _BAD[number]
    one = random.choice([ask for ask in asks if ask.path == "/v1/chat/completions"])
    content = bad if isinstance(bad, bytes) else json.dumps(one.body | bad).encode()
    headers = {"Content-Type": "application/json"}
    try:
        response = await client.post(one.path, content=content, headers=headers)
    except httpx.WriteError:  # it was refused before all of it was sent
        tally.outcomes["malformed cut off"] += 1
        return
    except httpx.HTTPError as error:
        tally.server_errors[f"malformed {number} {type(error).__name__}"] += 1
        return
    tally.outcomes[f"malformed {response.status_code}"] += 1
    if response.status_code >= 500:
        tally.server_errors[f"malformed {number} {response.status_code}"] += 1
    elif response.status_code != expected or "error" not in response.json():
        tally.refused_wrongly[f"malformed {number} {response.status_code}"] += 1
