"""Log-probabilities in the shapes of OpenAI's two APIs."""

from collections.abc import Iterator, Sequence

from endoscope.engine.requests import Step
from endoscope.models import Vocabulary
from endoscope.server.answers import ChatLogprobs, ChatToken, CompletionLogprobs, TopToken


def chat_logprobs(steps: Sequence[Step], vocabulary: Vocabulary) -> ChatLogprobs:
    """Return the log-probabilities of tokens as the chat API has them."""
    content = []
    for step, logprob in _shown(steps):
        token = _token(vocabulary.text(step.token_id), logprob)
        top = [_token(t.text, t.logprob) for t in step.top]
        content.append(ChatToken(**dict(token), top_logprobs=top))
    return ChatLogprobs(content=content)


def completion_logprobs(
    steps: Sequence[Step], vocabulary: Vocabulary, wanted: int
) -> CompletionLogprobs:
    """Return the log-probabilities of tokens as the completions API has them.

    Args:
        steps: the tokens.
        vocabulary: gives their texts.
        wanted: how many of the most probable were asked for.
    """
    shown = list(_shown(steps))
    return CompletionLogprobs(
        tokens=[vocabulary.text(step.token_id) for step, _ in shown],
        token_logprobs=[logprob for _, logprob in shown],
        top_logprobs=[_by_text(step) for step, _ in shown] if wanted else None,
        text_offset=[step.span[0] for step, _ in shown],
    )


def _by_text(step: Step) -> dict[str, float]:
    """The most probable tokens by their texts; of those that look alike the most probable."""
    return {token.text: token.logprob for token in reversed(step.top)}


def _shown(steps: Sequence[Step]) -> Iterator[tuple[Step, float]]:
    """All tokens but that of the end of the text, which is no part of the answer."""
    for step in steps:
        ending = step.finish == "stop" and step.span[0] == step.span[1]
        if step.logprob is not None and not ending:
            yield step, step.logprob


def _token(text: str, logprob: float) -> TopToken:
    whole = "\ufffd" not in text
    return TopToken(token=text, logprob=logprob, bytes=list(text.encode()) if whole else None)
