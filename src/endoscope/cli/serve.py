"""`endoscope serve`: an OpenAI-compatible server that reads and steers as it streams."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from endoscope.cli.options import Engine, Vllm, named, split, vllm_options
from endoscope.errors import InputError


def serve(
    model: Annotated[str, typer.Argument(help="Embedded model, folder, .gguf file or hub id.")],
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="YAML of a variant: interventions, probes and guards under a model name of its "
            "own (repeat for several).",
        ),
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]POLICY",
            help="A policy that answers can go through: `pii`, or a YAML file (repeat).",
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="A probe that requests can read with (repeat)."),
    ] = None,
    direction: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FOLDER", help="A direction that interventions can name (repeat)."
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Where to listen; others than this machine need `0.0.0.0`, and then keys."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable with the key that clients must send, or several with "
            "commas. Keys are never given on the command line, where others can see them.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with a key a line.", show_default=False)
    ] = None,
    engine: Engine = "transformers",
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="On vLLM: a kind of site that requests can name beside `resid_pre` and "
            "`resid_post`, such as `attn_out` (repeat)."
        ),
    ] = None,
    vllm: Vllm = None,
    adapter: Annotated[str | None, typer.Option(help="Folder with a PEFT adapter.")] = None,
    device: Annotated[
        str,
        typer.Option(
            help="`auto`, `cpu`, `cuda`, `mps`; on vLLM, where the models run that guards read."
        ),
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="`auto`, `fast`, `float32`, `bfloat16` or `float16`.")
    ] = "auto",
    max_requests: Annotated[
        int, typer.Option(min=1, help="Answers at once; one with n choices counts n.")
    ] = 16,
    max_waiting: Annotated[
        int, typer.Option(min=0, help="Answers that may wait for a place; beyond it is 429.")
    ] = 64,
    max_prompt_tokens: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 4096,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 1024,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds for a request; it ends there with what it has."),
    ] = 120.0,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that requests have to finish at the end.")
    ] = 30.0,
    log_level: Annotated[
        str, typer.Option(help="`debug`, `info`, `warning` or `error`, as JSON on standard error.")
    ] = "info",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the ready line as a JSON object.")
    ] = False,
) -> None:
    """Serve MODEL to clients of OpenAI's API, and to those who want to see and steer.

    Prints the URL when it listens. Ctrl-C once lets running answers finish; twice ends at once.
    `/docs` describes all paths. Prompts and answers are never logged.

    **Examples**

    - `endoscope serve smollm2-135m-instruct`,
    then `curl localhost:8000/v1/models`

    - `endoscope serve MODEL --direction sea=sea-direction --probe tone=tone-probe`:
    requests can say
    `"endoscope": {"interventions": [{"kind": "add", "direction": "sea", "strength": 0.3}],
    "probes": ["tone"]}`

    - `endoscope serve smollm2-135m-instruct --guard pii --variant sailor.yaml`:
    a model `sailor` beside the plain one, and answers without personal data for requests with
    `"endoscope": {"guards": ["pii"]}`

    - `endoscope serve MODEL --host 0.0.0.0 --api-key-file keys.txt`:
    for other machines
    """
    from endoscope.models import KINDS
    from endoscope.server.auth import Keys
    from endoscope.server.logs import LEVELS, start

    kinds = [one for one in KINDS if one in (kind or ())]
    if unknown := set(kind or ()) - set(kinds):
        raise InputError(f"{sorted(unknown)[0]} is no kind of site.", f"Use {', '.join(KINDS)}.")
    if log_level not in LEVELS:
        raise InputError("There is no such log level.", f"Choose from: {', '.join(LEVELS)}.")
    keys = Keys.read(api_key_env, api_key_file)
    probes = {name: Path(path) for name, path in named(probe, "--probe").items()}
    directions = {name: Path(path) for name, path in named(direction, "--direction").items()}
    guards = named(guard, "--guard", stem=True)
    variants = [split(text) for text in variant or ()]
    start(log_level)

    from endoscope.server.app import App
    from endoscope.server.edge import hosts_of
    from endoscope.server.loading import Options, load
    from endoscope.server.running import Server
    from endoscope.server.served import Limits

    options = Options(
        model,
        adapter,
        device,
        dtype,
        variants=[(name, Path(path)) for name, path in variants],
        guards=guards,
        probes=probes,
        directions=directions,
        limits=Limits(max_requests, max_waiting, max_prompt_tokens, max_tokens, timeout),
        keys=keys,
        engine=engine,
        kinds=kinds,
        vllm=vllm_options(vllm),
    )
    hosts = hosts_of(host, keys)
    if not keys and hosts is None:
        raise InputError(
            "Anybody who reaches this address could use the model: no key is set.",
            "Give --api-key-file or --api-key-env, or listen on 127.0.0.1.",
        )
    app = App(load(options), hosts)
    Server(
        app.edge, host, port, ready=partial(_say_ready, as_json), grace=grace, cut=app.worker.cut
    ).listen()


def _say_ready(as_json: bool, url: str) -> None:
    if as_json:
        print(json.dumps({"url": url}), flush=True)
        return
    print(
        f"Endoscope listens at {url} (OpenAI's API: {url}/v1; what there is: {url}/docs)",
        flush=True,
    )
