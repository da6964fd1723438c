"""What clients send: OpenAI's parameters, and our own object beside them.

A parameter that this server cannot honour has a type that only its harmless values fit, so the
schema says so and nothing is ignored in silence; `UNSUPPORTED` has what to say of it.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

MOST_CHOICES = 8
MOST_PROMPTS = 8
MOST_INTERVENTIONS = 32
MOST_NAMES = 16
MOST_MESSAGES = 1024
MOST_TEXTS = 64

UNSUPPORTED = {
    "tools": "tools are not offered to the model",
    "tool_choice": "tools are not offered to the model",
    "functions": "functions are not offered to the model",
    "function_call": "functions are not offered to the model",
    "response_format": "answers are plain text",
    "logit_bias": "tokens are not biased",
    "presence_penalty": "there are no penalties",
    "frequency_penalty": "there are no penalties",
    "modalities": "answers are text",
    "audio": "answers are text",
    "prediction": "there are no predicted outputs",
    "reasoning_effort": "the model does not reason apart",
    "verbosity": "say in the prompt how long the answer is to be",
    "web_search_options": "the model does not search",
    "store": "nothing is stored",
    "service_tier": "there is one tier",
    "best_of": "give n, and choose yourself",
    "echo": "put the prompt before the answer yourself",
    "suffix": "the model only goes on from a prompt",
    "tool_calls": "tools are not offered to the model",
}


class Sent(BaseModel):
    """What holds for all of it: nothing unknown, no other type, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Empty(Sent):
    """An object with nothing in it."""


class PlainText(Sent):
    """The one response format that there is."""

    type: Literal["text"]


def _whole(value: object) -> object:
    """JSON does not tell 1.0 from 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _off(value: bool) -> bool:
    if value:
        raise ValueError("This must be false.")
    return value


def _utf8(value: object) -> object:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("This text has a lone surrogate: replace it by U+FFFD.") from None
    return value


# Behind the limits of a type, so that its schema has them.
Whole = BeforeValidator(_whole)
Utf8 = BeforeValidator(_utf8)

Text = Annotated[str, Utf8]
Name = Annotated[str, Field(min_length=1, max_length=256), Utf8]
AtLeastOne = Annotated[int, Field(ge=1), Whole]
Off = Annotated[bool, AfterValidator(_off), WithJsonSchema({"type": "boolean", "const": False})]
Zero = Annotated[float, Field(ge=0, le=0)]
Nothing = Annotated[list[Any], Field(max_length=0)]


def _form(value: object) -> str | None:
    """Tell a text from lists of several kinds, so that what is wrong is said of the right one."""
    if isinstance(value, str):
        return "as text"
    if not isinstance(value, list):
        return None
    first = value[0] if value else None
    if isinstance(first, str):
        return "as texts"
    return "as prompts" if isinstance(first, list) else "as parts"


Stops = Annotated[
    Annotated[Name, Tag("as text")]
    | Annotated[list[Name], Field(min_length=1, max_length=16), Tag("as texts")]
    | Annotated[Nothing, Tag("as parts")],
    Discriminator(_form),
]


class Asked(Sent):
    """What a request has changed and read, on any server."""

    interventions: list[dict[str, Any]] = Field(
        default=[],
        max_length=MOST_INTERVENTIONS,
        description="Changes to activations while this request runs, in order, in the JSON form of "
        'interventions (`{"kind": "add", "site": "resid_post.12", "vector": […], "strength": 4}`), '
        "or with the name of a direction that the server has loaded in place of the numbers "
        '(`{"kind": "add", "direction": "sea", "strength": 4}`). Data only, never code.',
    )
    probes: list[Name] = Field(
        default=[], max_length=MOST_NAMES, description="Names of loaded probes that read along."
    )


class EndoscopeOptions(Asked):
    """What only this server can do: steer, read and guard one request."""

    variant: Name | None = Field(
        default=None,
        description="Name of a variant of this server. What else stands here is added after what "
        "the variant brings. The same as giving its name as `model`.",
    )
    guards: list[Name] = Field(
        default=[],
        max_length=MOST_NAMES,
        description="Names of loaded guard policies that the answer goes through.",
    )


class StreamOptions(Sent):
    """How to stream."""

    include_usage: bool | None = Field(
        default=None, description="Send one more chunk at the end, with the tokens used."
    )
    include_obfuscation: bool | None = Field(default=None, description="Ignored.")


class Sampled(Sent):
    """What both ways of generating have in common."""

    model: Name = Field(description="One of `/v1/models`: the model, or a variant of it.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="0 takes the most probable token. 1 if left out."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES), Whole] | None = Field(
        default=None, description="How many answers to each prompt."
    )
    stop: Stops | None = Field(
        default=None, description="Texts that end the answer and are not part of it."
    )
    seed: Annotated[int, Whole] | None = Field(
        default=None, description="Makes sampling repeatable; answer i of n has seed + i."
    )
    max_tokens: AtLeastOne | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    endoscope: EndoscopeOptions | None = None
    user: Text | None = Field(default=None, description="Accepted and ignored.")
    logit_bias: Empty | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None


class TextPart(Sent):
    """A piece of a message; there are no others than text."""

    type: Literal["text"]
    text: Text


class Message(Sent):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        Annotated[Text, Tag("as text")]
        | Annotated[list[TextPart], Field(min_length=1, max_length=MOST_MESSAGES), Tag("as parts")],
        Discriminator(_form),
    ]
    name: None = Field(default=None, description="Not supported: the model is not told it.")
    tool_calls: Nothing | None = None

    @property
    def text(self) -> str:
        """All of it as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


_TOP_NEEDS_LOGPROBS: dict[str, Any] = {
    "if": {
        "required": ["top_logprobs"],
        "properties": {"top_logprobs": {"type": "integer", "minimum": 1}},
    },
    "then": {"required": ["logprobs"], "properties": {"logprobs": {"const": True}}},
}
_ONE_LENGTH: dict[str, Any] = {
    "not": {
        "required": ["max_tokens", "max_completion_tokens"],
        "properties": {
            "max_tokens": {"type": "integer"},
            "max_completion_tokens": {"type": "integer"},
        },
    },
}


class ChatSent(Sampled):
    """`POST /v1/chat/completions`."""

    model_config = ConfigDict(json_schema_extra=_TOP_NEEDS_LOGPROBS | _ONE_LENGTH)

    messages: Annotated[list[Message], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_completion_tokens: AtLeastOne | None = Field(
        default=None, description="The most tokens to generate; `max_tokens` is its old name."
    )
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), Whole] | None = Field(
        default=None, description="How many other tokens to report; needs `logprobs`."
    )
    tools: Nothing | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = Field(default=None, description="Accepted and ignored.")
    functions: Nothing | None = None
    function_call: Literal["none", "auto"] | None = None
    response_format: PlainText | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    audio: None = None
    prediction: None = None
    reasoning_effort: Literal["none"] | None = None
    verbosity: None = None
    web_search_options: None = None
    store: Off | None = None
    service_tier: Literal["auto", "default"] | None = None
    metadata: dict[str, Any] | None = Field(default=None, description="Accepted and ignored.")
    safety_identifier: Text | None = Field(default=None, description="Accepted and ignored.")
    prompt_cache_key: Text | None = Field(default=None, description="Accepted and ignored.")


TokenIds = Annotated[list[Annotated[int, Field(ge=0), Whole]], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_PROMPTS)]
Prompts = Annotated[list[TokenIds], Field(min_length=1, max_length=MOST_PROMPTS)]


class CompletionSent(Sampled):
    """`POST /v1/completions`."""

    prompt: Annotated[
        Annotated[Text, Tag("as text")]
        | Annotated[Texts, Tag("as texts")]
        | Annotated[TokenIds, Tag("as parts")]
        | Annotated[Prompts, Tag("as prompts")],
        Discriminator(_form),
    ] = Field(
        description="A text, several, token ids, or several lists of them. Token ids are taken as "
        "they are; to texts the model's special tokens are added."
    )
    logprobs: Annotated[int, Field(ge=0, le=20), Whole] | None = Field(
        default=None, description="Report each token's log-probability and so many of the others."
    )
    best_of: Annotated[int, Field(ge=1, le=1), Whole] | None = None
    echo: Off | None = None
    suffix: Annotated[str, Field(max_length=0), Utf8] | None = None


class GuardText(Sent):
    """`POST /v1/guard` with one text."""

    text: Text
    policy: Name | None = Field(
        default=None, description="Which loaded policy; may be left out where there is one."
    )


class GuardTexts(Sent):
    """`POST /v1/guard` with several texts."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    policy: Name | None = Field(default=None, description="As for one text.")


def _how_many(value: object) -> str:
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, Sent) else ()
    return "as several" if "texts" in keys and "text" not in keys else "as one"


GuardSent = Annotated[
    Annotated[GuardText, Tag("as one")] | Annotated[GuardTexts, Tag("as several")],
    Discriminator(_how_many),
]
