"""An item as the model takes it."""

from collections.abc import Callable, Sequence

from endoscope.behaviours.item import Item
from endoscope.engine import Model
from endoscope.engine.capture import Text


def prompt_of(model: Model, item: Item) -> Text:
    """Return a conversation; or the text alone, for a model without a chat template.

    Raises:
        InputError: the item has messages and the model has no chat template (by the model, when it
            reads them).
    """
    if item.prompt is not None and not model.tokenizer.can_chat:
        return item.prompt
    return item.conversation()


def answers(
    model: Model,
    items: Sequence[Item],
    *,
    max_tokens: int,
    temperature: float,
    seed: int,
    progress: bool,
) -> list[str]:
    """Return what the model writes to each item, in order; arguments as of `Model.generate`."""
    return model.generate(
        [prompt_of(model, item) for item in items],
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )


def extended(item: Item, text: str) -> Item:
    """Return the item with a text added to what the user said last."""
    return reworded(item, lambda said: said + text)


def reworded(item: Item, change: Callable[[str], str]) -> Item:
    """Return the item with what the user said last put another way."""
    if item.messages is None:
        return item.model_copy(update={"prompt": change(str(item.prompt))})
    last = item.messages[-1]
    changed = last.model_copy(update={"content": change(last.content)})
    return item.model_copy(update={"messages": (*item.messages[:-1], changed)})


def answer_after(prompt: Text, answer: str) -> str:
    """Return an answer as it follows a prompt: a text needs a space between, a turn does not."""
    return f" {answer.strip()}" if isinstance(prompt, str) else answer.strip()
