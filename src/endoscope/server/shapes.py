"""Answers in the shapes of OpenAI's two APIs, streamed and whole."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from endoscope.engine.requests import Step
from endoscope.server.answers import (
    Answer,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatLogprobs,
    ChatMessage,
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    EndoscopeAnswer,
    Finish,
    Usage,
)
from endoscope.server.joining import Whole, finish, ours
from endoscope.server.pieces import Piece
from endoscope.server.prepare import Prepared
from endoscope.server.served import Served
from endoscope.server.tokens import chat_logprobs, completion_logprobs


class Shape(ABC):
    """How an API says what was generated.

    Args:
        served: what is loaded.
        prepared: what was asked for.
        usage: whether the chunks of a stream say what it has used.
    """

    prefix: str

    def __init__(self, served: Served, prepared: Prepared, *, usage: bool = False) -> None:
        self._vocabulary = served.vocabulary
        self._prepared = prepared
        self._logprobs = prepared.requests[0].sampling.logprobs
        self._no_usage: dict[str, Any] = {"usage": None} if usage else {}
        self._head: dict[str, Any] = {
            "id": prepared.id.replace("req_", self.prefix, 1),
            "created": int(time.time()),
            "model": prepared.model,
            "system_fingerprint": served.fingerprint,
        }

    @abstractmethod
    def begin(self) -> Sequence[Answer]:
        """Return what a stream begins with."""

    @abstractmethod
    def chunk(self, number: int, piece: Piece, timed_out: bool) -> Answer | None:
        """Return what a piece adds to one choice; None: nothing."""

    @abstractmethod
    def last(self, tokens: int) -> Answer:
        """Return the chunk that says what a stream has used."""

    @abstractmethod
    def whole(self, choices: Sequence[Whole], tokens: int, timed_out: bool) -> Answer:
        """Return all of it."""

    @property
    def usage(self) -> bool:
        """Whether a stream ends with what it has used."""
        return bool(self._no_usage)

    def _ours(self, piece: Piece, timed_out: bool) -> EndoscopeAnswer | None:
        return ours(piece, timed_out and piece.finish is not None) if self._prepared.ours else None

    def _used(self, tokens: int) -> Usage:
        prompt = self._prepared.prompt_tokens
        return Usage(prompt_tokens=prompt, completion_tokens=tokens, total_tokens=prompt + tokens)


class ChatShape(Shape):
    """`POST /v1/chat/completions`."""

    prefix = "chatcmpl-"

    def begin(self) -> Sequence[Answer]:
        """Return a chunk for each choice that says who speaks."""
        return [
            self._chunk(number, ChatDelta(role="assistant", content=""), None)
            for number in range(len(self._prepared.requests))
        ]

    def chunk(self, number: int, piece: Piece, timed_out: bool) -> Answer | None:
        """Return what a piece adds to one choice; None: nothing."""
        delta = ChatDelta(content=piece.text) if piece.text else ChatDelta()
        if (found := self._ours(piece, timed_out)) is not None:
            delta.endoscope = found
        logprobs = None
        if self._logprobs is not None and piece.tokens:
            logprobs = chat_logprobs(piece.tokens, self._vocabulary)
        if piece.finish is None and logprobs is None and not delta.model_fields_set:
            return None
        return self._chunk(number, delta, finish(piece), logprobs)

    def last(self, tokens: int) -> Answer:
        """Return the chunk that says what a stream has used."""
        return ChatChunk(**self._head, choices=[], usage=self._used(tokens))

    def whole(self, choices: Sequence[Whole], tokens: int, timed_out: bool) -> Answer:
        """Return all of it."""
        found = []
        for number, choice in enumerate(choices):
            message = ChatMessage(content=choice.text, refusal=None)
            if self._prepared.ours:
                message.endoscope = choice.ours(timed_out)
            logprobs = None
            if self._logprobs is not None:
                logprobs = chat_logprobs(choice.tokens, self._vocabulary)
            found.append(
                ChatChoice(
                    index=number, message=message, logprobs=logprobs, finish_reason=choice.finish
                )
            )
        return ChatCompletion(**self._head, choices=found, usage=self._used(tokens))

    def _chunk(
        self,
        number: int,
        delta: ChatDelta,
        end: Finish | None,
        logprobs: ChatLogprobs | None = None,
    ) -> ChatChunk:
        choice = ChatChunkChoice(index=number, delta=delta, logprobs=logprobs, finish_reason=end)
        return ChatChunk(**self._head, **self._no_usage, choices=[choice])


class CompletionShape(Shape):
    """`POST /v1/completions`."""

    prefix = "cmpl-"

    def begin(self) -> Sequence[Answer]:
        """Return nothing: the first chunk is the first text."""
        return []

    def chunk(self, number: int, piece: Piece, timed_out: bool) -> Answer | None:
        """Return what a piece adds to one choice; None: nothing."""
        found = self._ours(piece, timed_out)
        logprobs = self._tokens(piece.tokens) if piece.tokens else None
        if piece.finish is None and logprobs is None and found is None and not piece.text:
            return None
        choice = self._choice(number, piece.text, logprobs, finish(piece), found)
        return Completion(**self._head, **self._no_usage, choices=[choice])

    def last(self, tokens: int) -> Answer:
        """Return the chunk that says what a stream has used."""
        return Completion(**self._head, choices=[], usage=self._used(tokens))

    def whole(self, choices: Sequence[Whole], tokens: int, timed_out: bool) -> Answer:
        """Return all of it."""
        found = [
            self._choice(
                number,
                choice.text,
                self._tokens(choice.tokens),
                choice.finish,
                choice.ours(timed_out) if self._prepared.ours else None,
            )
            for number, choice in enumerate(choices)
        ]
        return Completion(**self._head, choices=found, usage=self._used(tokens))

    def _tokens(self, steps: Sequence[Step]) -> CompletionLogprobs | None:
        if self._logprobs is None:
            return None
        return completion_logprobs(steps, self._vocabulary, self._logprobs)

    def _choice(
        self,
        number: int,
        text: str,
        logprobs: CompletionLogprobs | None,
        end: Finish | None,
        found: EndoscopeAnswer | None,
    ) -> CompletionChoice:
        more = {} if found is None else {"endoscope": found}
        return CompletionChoice(
            index=number, text=text, logprobs=logprobs, finish_reason=end, **more
        )
