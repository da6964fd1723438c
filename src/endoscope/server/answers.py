"""What the server answers: OpenAI's objects, with our own beside them where it was asked for."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Finish = Literal["stop", "length", "content_filter"]
Reading = tuple[int, float]


class Answer(BaseModel):
    """What was never set is left out of the JSON, but for what is always the same."""

    model_config = ConfigDict(extra="forbid")

    def model_post_init(self, _: Any) -> None:
        """Count constants, such as `object`, as set."""
        fields = type(self).model_fields.items()
        self.model_fields_set.update(k for k, field in fields if isinstance(field.default, str))

    def json_text(self) -> str:
        """Return it as compact JSON."""
        return self.model_dump_json(exclude_unset=True)


class GuardSpan(Answer):
    """Something that a guard found, in code points of the text as the model wrote it."""

    policy: str
    start: int
    end: int
    label: str
    score: float
    action: str = Field(description="What the policy says is done with it.")


class GuardAction(Answer):
    """A guard that stopped, steered or escalated, and what it was about."""

    policy: str
    action: str
    label: str
    score: float
    start: int
    end: int


class GuardFindings(Answer):
    """What guards settled: all of an answer, or what became final with a chunk."""

    spans: list[GuardSpan] = []
    actions: list[GuardAction] = []


class SideCost(Answer):
    """What a model beside the serving one has cost."""

    policy: str
    model: str
    tokens: int
    seconds: float


class EndoscopeAnswer(Answer):
    """Ours: what was read, what the guards did, what it cost."""

    readings: dict[str, list[Reading]] = Field(
        default={},
        description="For each probe `[position, score]`: how probable it is that the token at this "
        "position (the prompt's first token has 0) is of any label.",
    )
    guard: GuardFindings = Field(default=GuardFindings())
    costs: list[SideCost] = Field(default=[], description="With the last chunk.")
    timed_out: bool = Field(default=False, description="The time limit ended it.")


class Usage(Answer):
    """Tokens, those of the model's special tokens included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopToken(Answer):
    """A token that could have stood here; `bytes` is null where it is no whole character."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatToken(TopToken):
    """A token of the answer."""

    top_logprobs: list[TopToken]


class ChatLogprobs(Answer):
    """Log-probabilities as the chat API has them."""

    content: list[ChatToken]
    refusal: None = None


class ChatMessage(Answer):
    """The answer of the model."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    endoscope: EndoscopeAnswer | None = None


class ChatChoice(Answer):
    """One of `n` answers."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Finish


class ChatCompletion(Answer):
    """What `POST /v1/chat/completions` answers."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(Answer):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    endoscope: EndoscopeAnswer | None = None


class ChatChunkChoice(Answer):
    """What a chunk adds to one of the answers."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: Finish | None


class ChatChunk(Answer):
    """One `data:` line of a streamed chat."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None


class CompletionLogprobs(Answer):
    """Log-probabilities as the completions API has them: one entry a token in each list."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class CompletionChoice(Answer):
    """One answer, or what a chunk adds to it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Finish | None
    endoscope: EndoscopeAnswer | None = None


class Completion(Answer):
    """What `POST /v1/completions` answers; streamed, one of its `data:` lines."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class ModelAbout(Answer):
    """A model or a variant of it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "endoscope"
    parent: str | None = Field(default=None, description="The model that a variant is one of.")


class ModelList(Answer):
    """All that can be named as `model`."""

    object: Literal["list"] = "list"
    data: list[ModelAbout]


class OfflineSpan(Answer):
    """Something found in a text, in code points, end exclusive."""

    start: int
    end: int
    label: str
    score: float


class GuardedText(Answer):
    """A text without what the policy takes out of it."""

    redacted: str
    spans: list[OfflineSpan]


class GuardedTexts(Answer):
    """One result for each text, in order."""

    results: list[GuardedText]


class Health(Answer):
    """How the server is."""

    status: str
