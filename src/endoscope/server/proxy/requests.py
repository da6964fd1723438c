"""The requests that can be scanned: OpenAI's fields, and those that servers of open models add."""

from typing import Any

from endoscope.server.proxy.readers import (
    Plan,
    Reader,
    alias,
    anything,
    biases,
    call_id,
    dropped,
    either,
    fields,
    flag,
    identifier,
    many,
    model,
    number,
    one_of,
    refuse,
    refused,
    text,
    texts,
    together,
)

# Words of JSON Schema: scanning them in every tool of every request would find nothing.
_SCHEMA_WORDS = """
    $defs $id $ref $schema additionalProperties allOf anyOf const default definitions description
    enum examples exclusiveMaximum exclusiveMinimum format items maximum maxItems maxLength minimum
    minItems minLength multipleOf not nullable oneOf pattern patternProperties prefixItems
    properties required strict title type uniqueItems array boolean integer null number object
    string date date-time email uri uuid"""
_schema = anything(frozenset(_SCHEMA_WORDS.split()))

_MEDIA = "holds what is no text (images, audio and files cannot be scanned): send text."
_KNOWN_MEDIA = ("image_url", "input_image", "input_audio", "audio_url", "video_url", "file")


def _part(value: Any, place: str, plan: Plan) -> Any:
    """A part of a message: text, or refused by name."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return fields({"type": one_of("text"), "text": text})(value, place, plan)
    if kind == "refusal":
        return fields({"type": one_of("refusal"), "refusal": text})(value, place, plan)
    if kind in (*_KNOWN_MEDIA, "input_file"):
        raise refuse(place, f"is `{kind}`: it {_MEDIA}", "not_scannable")
    raise refuse(place, "is a part of a kind that cannot be scanned: send text.", "not_scannable")


_content = either(text, together(_part))
_called = fields({"name": identifier, "arguments": text})
_tool_call = fields(
    {
        "id": call_id,
        "index": number,
        "type": one_of("function", "custom"),
        "function": _called,
        "custom": fields({"name": identifier, "input": text}),
    }
)
_message = fields(
    {
        "role": one_of("system", "developer", "user", "assistant", "tool", "function"),
        "name": text,
        "content": _content,
        "refusal": text,
        "reasoning": text,
        "reasoning_content": text,
        "tool_calls": together(_tool_call),
        "tool_call_id": call_id,
        "function_call": _called,
        "annotations": anything(),
        "audio": refused(_MEDIA),
        "endoscope": dropped,  # readings on an earlier answer, which clients send back with it
    }
)

_function = fields({"name": identifier, "description": text, "parameters": _schema, "strict": flag})
_tool = fields(
    {
        "type": one_of("function", "custom"),
        "function": _function,
        "custom": fields({"name": identifier, "description": text, "format": anything()}),
    }
)
_named = fields({"name": identifier})
_choice = fields({"type": one_of("function", "custom"), "function": _named, "custom": _named})
_format = fields(
    {
        "type": one_of("text", "json_object", "json_schema"),
        "json_schema": fields(
            {"name": identifier, "description": text, "schema": _schema, "strict": flag}
        ),
    }
)

_NUMBERS = """temperature top_p n max_tokens presence_penalty frequency_penalty seed top_k min_p
    repetition_penalty length_penalty min_tokens"""
_everywhere: dict[str, Reader] = {"model": model, "user": alias}
_generated: dict[str, Reader] = {
    **_everywhere,
    **dict.fromkeys(_NUMBERS.split(), number),
    **dict.fromkeys(("stream", "ignore_eos"), flag),
    "stop": texts,
    "stream_options": fields({"include_usage": flag, "include_obfuscation": flag}),
    "logit_bias": biases,
    "endoscope": anything(),
    "chat_template_kwargs": anything(),
}

CHAT = fields(
    {
        **_generated,
        "messages": many(_message),
        "max_completion_tokens": number,
        "logprobs": flag,
        "top_logprobs": number,
        "tools": many(_tool),
        "tool_choice": either(one_of("none", "auto", "required"), _choice),
        "parallel_tool_calls": flag,
        "functions": many(_function),
        "function_call": either(one_of("none", "auto"), _named),
        "response_format": _format,
        "modalities": together(one_of("text")),
        "audio": refused(_MEDIA),
        "prediction": fields({"type": one_of("content"), "content": _content}),
        "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh"),
        "verbosity": one_of("low", "medium", "high"),
        "web_search_options": anything(),
        "store": flag,
        "service_tier": one_of("auto", "default", "flex", "scale", "priority"),
        "metadata": anything(),
        "safety_identifier": alias,
        "prompt_cache_key": alias,
        "prompt_cache_retention": one_of("in-memory", "24h"),
    },
    apart=True,
)
"""`POST /v1/chat/completions`."""

COMPLETION = fields(
    {
        **_generated,
        "prompt": texts,
        "suffix": text,
        "logprobs": number,
        "best_of": number,
        "echo": flag,
    },
    apart=True,
)
"""`POST /v1/completions`."""

EMBEDDING = fields(
    {
        **_everywhere,
        "input": texts,
        "dimensions": number,
        "encoding_format": one_of("float", "base64"),
        "truncate_prompt_tokens": number,
    },
    apart=True,
)
"""`POST /v1/embeddings`."""
