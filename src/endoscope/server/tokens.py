"""Log-probabilities in the shapes of OpenAI's two APIs."""

from collections.abc import Iterator, Sequence

from endoscope.engine.requests import Step
from endoscope.models import TextTokenizer
from endoscope.server.answers import ChatLogprobs, ChatToken, CompletionLogprobs, TopToken


def chat_logprobs(steps: Sequence[Step], tokenizer: TextTokenizer) -> ChatLogprobs:
    """Return the log-probabilities of tokens as the chat API has them."""
    content = []
    for step in _shown(steps):
        token = _token(_text(step, tokenizer), step.logprob or 0.0)
        top = [_token(t.text, t.logprob) for t in step.top]
        content.append(ChatToken(**dict(token), top_logprobs=top))
    return ChatLogprobs(content=content)


def completion_logprobs(
    steps: Sequence[Step], tokenizer: TextTokenizer, wanted: int
) -> CompletionLogprobs:
    """Return the log-probabilities of tokens as the completions API has them.

    Args:
        steps: the tokens.
        tokenizer: gives their texts.
        wanted: how many of the most probable were asked for.
    """
    shown = list(_shown(steps))
    return CompletionLogprobs(
        tokens=[_text(step, tokenizer) for step in shown],
        token_logprobs=[step.logprob or 0.0 for step in shown],
        top_logprobs=[{t.text: t.logprob for t in step.top} for step in shown] if wanted else None,
        text_offset=[step.span[0] for step in shown],
    )


def _shown(steps: Sequence[Step]) -> Iterator[Step]:
    """All but the end-of-text token, which is no part of the answer."""
    return (s for s in steps if not (s.finish == "stop" and s.span[0] == s.span[1]))


def _text(step: Step, tokenizer: TextTokenizer) -> str:
    return str(tokenizer.hf.decode([step.token_id]))


def _token(text: str, logprob: float) -> TopToken:
    whole = "\ufffd" not in text
    return TopToken(token=text, logprob=logprob, bytes=list(text.encode()) if whole else None)
