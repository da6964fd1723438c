"""`endoscope capture`: activations of many texts, into a store on disk."""

import json
from pathlib import Path
from typing import Annotated

import typer


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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fast, float32, bfloat16 or float16.")] = "auto",
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most tokens in a batch.")] = 4096,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read activations for every token of DATA and keep them in a folder.

    The folder holds bfloat16 safetensors shards and a manifest. If the work is cut off, even by
    kill -9, run the same command again: it goes on where it was.

    Example: `endoscope capture texts.jsonl --model gemma-3-270m --sites resid_post.12 -o acts`

    From Python: `endoscope.ActivationStore.open("acts").load()`
    """
    import endoscope
    from endoscope.engine.texts import read_texts

    ids, texts = read_texts(data)
    opened = endoscope.open(model, adapter=adapter, device=device, dtype=dtype)
    store = opened.capture_to(
        output,
        texts,
        sites,
        ids=ids,
        readings=readings,
        batch_tokens=batch_tokens,
        progress=not as_json,
    )
    if as_json:
        print(
            json.dumps(
                {
                    "store": str(output),
                    "documents": len(texts),
                    "tokens": len(store),
                    "sites": [str(site) for site in store.sites],
                    "fingerprint": opened.fingerprint.digest,
                }
            )
        )
    else:
        print(store)
