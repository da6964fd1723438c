"""From what a client sent to what the engine runs: everything is checked here, before it waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from endoscope.engine.requests import Request, Sampling
from endoscope.readouts import Readout
from endoscope.server.errors import ApiError
from endoscope.server.sent import ChatSent, CompletionSent, EndoscopeOptions, Message, Sampled
from endoscope.server.served import Served, named
from endoscope.server.steering import interventions
from endoscope.server.variants import Defaults, Variant

_COMPLETION_TOKENS = 16  # of OpenAI's completions API, where nothing is said


@dataclass(frozen=True)
class Prepared:
    """One HTTP request, ready to run.

    Attributes:
        id: of the HTTP request.
        model: as the client called it.
        requests: one for each choice, in order.
        guards: names of the policies that each answer goes through.
        prompt_tokens: of all prompts, each counted once.
        ours: whether anything of ours was asked for, so that it is answered as well.
    """

    id: str
    model: str
    requests: tuple[Request, ...]
    guards: tuple[str, ...]
    prompt_tokens: int
    ours: bool


def chat(served: Served, sent: ChatSent, request_id: str) -> Prepared:
    """Prepare a chat.

    Raises:
        ApiError: something that was asked for cannot be had.
    """
    variant = _variant(served, sent)
    if not served.tokenizer.can_chat:
        message = "This model has no chat template: use /v1/completions."
        raise ApiError(400, message, param="model", code="no_chat_template")
    if sent.top_logprobs and not sent.logprobs:
        raise ApiError(
            400, "`top_logprobs` needs `logprobs`: true.", param="top_logprobs", code="missing"
        )
    logprobs = (sent.top_logprobs or 0) if sent.logprobs else None
    text = served.tokenizer.chat(_turns(sent.messages, variant.system), reply=True)
    ids = tuple(served.tokenizer.encode(text).ids)
    old, new = (
        _asked(served, name, getattr(sent, name))
        for name in ("max_tokens", "max_completion_tokens")
    )
    if None not in (old, new):
        message = "`max_tokens` is the old name of `max_completion_tokens`: give one of them."
        raise ApiError(400, message, param="max_tokens", code="invalid_value")
    return _prepared(served, sent, variant, [ids], logprobs, new or old, None, request_id)


def completion(served: Served, sent: CompletionSent, request_id: str) -> Prepared:
    """Prepare a completion.

    Raises:
        ApiError: something that was asked for cannot be had.
    """
    variant = _variant(served, sent)
    if variant.system is not None:
        message = "This variant has a system prompt, so it answers chats alone."
        raise ApiError(400, message, param="model", code="chat_only")
    prompts = _prompts(served, sent.prompt)
    return _prepared(
        served,
        sent,
        variant,
        prompts,
        sent.logprobs,
        _asked(served, "max_tokens", sent.max_tokens),
        _COMPLETION_TOKENS,
        request_id,
    )


def _variant(served: Served, sent: Sampled) -> Variant:
    """The variant that a request means; one that changes nothing where it means none."""
    if sent.model not in served.models:
        raise ApiError(
            404,
            f"There is no such model here. There are: {', '.join(served.models)}.",
            param="model",
            code="model_not_found",
        )
    wanted = sent.endoscope.variant if sent.endoscope else None
    if wanted is None or wanted == sent.model:
        return served.variants.get(sent.model, Variant(served.name))
    if sent.model in served.variants:
        raise ApiError(
            400,
            "The model is a variant already: name one variant.",
            param="endoscope.variant",
            code="two_variants",
        )
    return named(served.variants, wanted, "variant", "endoscope.variant")


def _prepared(
    served: Served,
    sent: Sampled,
    variant: Variant,
    prompts: Sequence[tuple[int, ...]],
    logprobs: int | None,
    asked: int | None,
    default: int | None,
    request_id: str,
) -> Prepared:
    options = sent.endoscope or EndoscopeOptions()
    readouts = _readouts(served, (*variant.probes, *options.probes))
    guards = tuple(dict.fromkeys((*variant.guards, *options.guards)))
    for name in options.guards:
        named(served.guards, name, "guard", "endoscope.guards")
    changes = variant.interventions + interventions(options.interventions, served)
    n = sent.n or 1
    requests: list[Request] = []
    for ids in prompts:
        tokens = _max_tokens(served, len(ids), asked, variant.sampling.max_tokens or default)
        for number in range(n):
            sampling = _sampling(sent, variant.sampling, tokens, logprobs, number)
            name = f"{request_id}-{len(requests)}"
            requests.append(Request(name, ids, sampling, readouts, changes))
    return Prepared(
        id=request_id,
        model=variant.name if sent.model == served.name else sent.model,
        requests=tuple(requests),
        guards=guards,
        prompt_tokens=sum(map(len, prompts)),
        ours=sent.endoscope is not None or sent.model in served.variants,
    )


def _readouts(served: Served, names: Sequence[str]) -> Mapping[str, Readout]:
    return {name: named(served.probes, name, "probe", "endoscope.probes") for name in names}


def _sampling(
    sent: Sampled, defaults: Defaults, tokens: int, logprobs: int | None, number: int
) -> Sampling:
    def first(*values: float | None) -> float:
        return next((value for value in values if value is not None), 1.0)

    stop = (sent.stop,) if isinstance(sent.stop, str) else tuple(sent.stop or ())
    return Sampling(
        max_tokens=tokens,
        temperature=first(sent.temperature, defaults.temperature),
        top_p=first(sent.top_p, defaults.top_p),
        seed=None if sent.seed is None else (sent.seed + number) % 2**63,
        stop=stop,
        logprobs=logprobs,
    )


def _asked(served: Served, param: str, tokens: int | None) -> int | None:
    if tokens is not None and tokens > served.limits.tokens:
        raise ApiError(
            400,
            f"At most {served.limits.tokens:,} tokens are generated: ask for fewer.",
            param=param,
            code="invalid_value",
        )
    return tokens


def _max_tokens(served: Served, prompt: int, asked: int | None, default: int | None) -> int:
    """How many tokens an answer may have: what was asked for, or all that there is room for."""
    limits = served.limits
    if prompt > limits.prompt_tokens:
        raise ApiError(
            400,
            f"The prompt has {prompt:,} tokens; this server takes {limits.prompt_tokens:,}.",
            code="context_length_exceeded",
        )
    room = limits.tokens if served.context is None else served.context - prompt
    if room < (asked or 1):
        raise ApiError(
            400,
            f"The prompt has {prompt:,} tokens and the model room for {served.context:,}, the "
            "answer included: send or ask for less.",
            code="context_length_exceeded",
        )
    return asked or min(room, limits.tokens, default or limits.tokens)


def _turns(messages: Sequence[Message], system: str | None) -> list[dict[str, str]]:
    """Return the messages as chat templates know them, a variant's system prompt first."""
    turns = [
        {"role": "system" if m.role == "developer" else m.role, "content": m.text} for m in messages
    ]
    if system is None:
        return turns
    if turns[0]["role"] == "system":
        return [{"role": "system", "content": f"{system}\n\n{turns[0]['content']}"}, *turns[1:]]
    return [{"role": "system", "content": system}, *turns]


def _prompts(
    served: Served, prompt: str | list[str] | list[int] | list[list[int]]
) -> list[tuple[int, ...]]:
    if isinstance(prompt, str):
        return [_encoded(served, prompt)]
    prompts: list[tuple[int, ...]] = []
    alone = all(isinstance(part, int) for part in prompt)
    for part in [prompt] if alone else prompt:
        if isinstance(part, str):
            prompts.append(_encoded(served, part))
        else:
            prompts.append(_checked(served, part))  # type: ignore[arg-type]  # a list of numbers
    return prompts


def _encoded(served: Served, text: str) -> tuple[int, ...]:
    ids = served.tokenizer.encode(text).ids
    if ids:
        return tuple(ids)
    hf = served.tokenizer.hf  # an empty text: the beginning of any text
    start = hf.bos_token_id if hf.bos_token_id is not None else hf.eos_token_id
    if start is None:
        raise ApiError(400, "The prompt has no tokens: send text.", param="prompt", code="empty")
    return (int(start),)


def _checked(served: Served, ids: list[int]) -> tuple[int, ...]:
    if max(ids) >= len(served.tokenizer.hf):
        message = f"A token id is out of range: the model has {len(served.tokenizer.hf):,} tokens."
        raise ApiError(400, message, param="prompt", code="invalid_value")
    return tuple(ids)
