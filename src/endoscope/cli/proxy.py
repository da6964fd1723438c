"""`endoscope proxy`: keep personal data from a provider of models."""

import json
from typing import Annotated

import typer

from endoscope.errors import InputError


def proxy(
    upstream: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The provider, as a client's `base_url`: `https://api.openai.com/v1`. Nothing "
            "else is ever contacted.",
        ),
    ],
    policy: Annotated[
        str, typer.Option(help="What must not leave: `pii`, or a YAML file of your own.")
    ] = "pii",
    model: Annotated[
        str | None,
        typer.Option(
            help="Model to scan with: `gemma-3-270m` (English, Japanese) or "
            "`smollm2-135m-instruct` (English alone).",
            show_default="gemma-3-270m",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="Where it runs: `auto`, `cpu`, `cuda`, `mps`.")
    ] = "auto",
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8100,
    session_ttl: Annotated[
        float,
        typer.Option(min=1, help="Seconds without a request after which a session is forgotten."),
    ] = 3600,
    timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds without a byte from the provider before giving it up."),
    ] = 600,
    max_characters: Annotated[
        int,
        typer.Option(
            min=1, help="The longest request, without what was scanned before, in characters."
        ),
    ] = 200_000,
    upstream_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable with the provider's key, which then goes out in place of "
            "the client's.",
            show_default=False,
        ),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Environment variable with the key that clients must send to the proxy, or "
            "several with commas; with `--upstream-key-env`.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ready line as JSON.")] = False,
) -> None:
    """Stand before a provider of models, and keep personal data from it.

    Names, addresses, numbers, keys and the like become placeholders (`[NAME_1]`) before a request
    leaves, and the placeholders become values again in the answer, streamed or not. Clients only
    change their `base_url`. What cannot be scanned (images, audio, files, token ids, unknown
    fields, other endpoints) is refused, and so is a text that could not be scored. The map of
    values lives in memory, for one request, or for a session where the client names one in
    `x-endoscope-session`.

    When it listens it prints one line. Logs are JSON lines on standard error, without personal
    data. Ctrl-C or SIGTERM: running answers may finish.

    **Examples**

    - `endoscope proxy --upstream https://api.openai.com/v1`:
    then `OpenAI(base_url="http://127.0.0.1:8100/v1")`

    - `endoscope proxy --upstream http://127.0.0.1:8000/v1 --policy mine.yaml`:
    a server of your own, and what your policy names

    - `endoscope proxy --upstream https://api.openai.com/v1 --upstream-key-env OPENAI_API_KEY`:
    clients need no key of the provider's
    """
    try:
        from endoscope.server import logs
        from endoscope.server.auth import Keys
        from endoscope.server.edge import hosts_of
        from endoscope.server.proxy import Proxy, Settings
        from endoscope.server.proxy.upstream import Upstream, read_key
        from endoscope.server.running import Server
    except ModuleNotFoundError as error:
        raise InputError(
            f"The proxy needs {error.name}, which is not installed.",
            "Run `pip install 'endoscope[server]'`.",
        ) from None
    from endoscope.guard import Guard, Policy

    if api_key_env and not upstream_key_env:
        raise InputError(
            "With --api-key-env alone the provider would get the proxy's key.",
            "Give --upstream-key-env too.",
        )
    keys = Keys.read(api_key_env)
    hosts = hosts_of(host, keys)
    if upstream_key_env and not keys and hosts is None:
        raise InputError(
            "Anybody who reaches this address could use the provider's key.",
            "Give --api-key-env, or listen on 127.0.0.1.",
        )
    opened = Policy.load(policy)  # what is wrong is said before the model, which takes longer
    provider = Upstream(upstream, timeout=timeout, key=read_key(upstream_key_env))
    guard = Guard.load(opened, model=model, device=device)
    logs.start()
    settings = Settings(session_ttl=session_ttl, most_characters=max_characters)
    application = Proxy(guard, provider, settings, keys, hosts)

    def ready(url: str) -> None:
        about = {"url": f"{url}/v1", "upstream": provider.url, "policy": opened.name}
        said = "endoscope proxy at {url} before {upstream}, policy {policy}".format(**about)
        print(json.dumps(about) if as_json else said, flush=True)

    Server(application.edge, host, port, ready=ready).listen()
