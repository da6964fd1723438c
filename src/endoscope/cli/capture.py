"""`endoscope capture`: activations of many texts, into a store on disk."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from endoscope.cli.options import Engine, Vllm, vllm_options

if TYPE_CHECKING:
    from endoscope.activations import ActivationStore

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def capture(
    data: Annotated[
        Path,
        typer.Argument(
            help='JSONL with {"id", "text"} or {"id", "messages"} a line, or a .txt file with one '
            "text a line."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the store.")],
    model: Annotated[str, typer.Option(help="Embedded model, folder, .gguf file or hub id.")],
    sites: Annotated[
        str, typer.Option(help="Sites to read, comma-separated: resid_post.12,attn_out.3")
    ],
    adapter: Annotated[str | None, typer.Option(help="Folder with a PEFT adapter.")] = None,
    readings: Annotated[
        int,
        typer.Option(
            min=1, max=2, help="2: read each text twice in one context, keep the second reading."
        ),
    ] = 1,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Read every N-th text, from the K-th on: the share of one of N processes. "
            "`endoscope join` puts the parts together.",
        ),
    ] = None,
    engine: Engine = "transformers",
    vllm: Vllm = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fast, float32, bfloat16 or float16.")] = "auto",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most tokens in a batch.")] = 4096,
    as_json: Json = False,
) -> None:
    """Read activations for every token of DATA and keep them in a folder.

    The folder holds bfloat16 safetensors shards and a manifest. If the work is cut off, even by
    kill -9, run the same command again: it goes on where it was.

    **Examples**

    - `endoscope capture texts.jsonl --model gemma-3-270m --sites resid_post.12 -o acts`

    - `endoscope capture texts.jsonl --model MODEL --sites resid_post.12 --engine vllm -o acts`:
    for large models

    - `endoscope capture texts.jsonl --model MODEL --sites resid_post.12 --part 1/2 -o acts-1`,
    elsewhere the same with `--part 2/2 -o acts-2`, then `endoscope join acts-1 acts-2 -o acts`

    From Python: `endoscope.ActivationStore.open("acts").load()`
    """
    import endoscope
    from endoscope.activations.parts import parse_part
    from endoscope.engine.texts import read_texts

    options = vllm_options(vllm)
    if engine == "vllm":
        options.setdefault("sites", sites.split(","))
    if part is not None:
        parse_part(part)  # a model may take minutes to load
    ids, texts = read_texts(data)
    opened = endoscope.open(
        model, adapter=adapter, device=device, dtype=dtype, engine=engine, **options
    )
    try:
        store = opened.capture_to(
            output,
            texts,
            sites,
            ids=ids,
            readings=readings,
            part=part,
            batch_tokens=batch_tokens,
            progress=not as_json,
        )
    finally:
        opened.close()
    say(store, as_json)


def say(store: "ActivationStore", as_json: bool) -> None:
    """Print what is in a store."""
    if not as_json:
        print(store)
        return
    about = {
        "store": str(store.path),
        "documents": len(store.done),
        "tokens": len(store),
        "sites": [str(site) for site in store.sites],
        "fingerprint": store.fingerprint.digest,
    }
    print(json.dumps(about))
