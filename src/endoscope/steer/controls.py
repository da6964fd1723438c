"""What steering is compared with: an instruction alone, and random directions."""

import torch
from torch import Tensor

from endoscope.behaviours import Behaviour, Item, Message
from endoscope.models import Site


def default_instruction(behaviour: Behaviour) -> str:
    """Return what asks for a behaviour if the user says nothing better."""
    return f"In all that you say, behave like this: {behaviour.description}"


def instructed(item: Item, instruction: str, can_chat: bool) -> Item:
    """Return an item with an instruction before it: a system prompt, or a paragraph of its own.

    Args:
        item: what the model is given.
        instruction: what it is asked for.
        can_chat: whether the model has a chat template.
    """
    if not can_chat and item.prompt is not None:
        return item.model_copy(update={"prompt": f"{instruction}\n\n{item.prompt}"})
    given = item.messages or (Message(role="user", content=str(item.prompt)),)
    if given[0].role == "system":
        both = f"{instruction}\n\n{given[0].content}"
        messages = (Message(role="system", content=both), *given[1:])
    else:
        messages = (Message(role="system", content=instruction), *given)
    return item.model_copy(update={"prompt": None, "messages": messages})


def random_directions(site: Site, d_model: int, count: int, seed: int) -> Tensor:
    """Return random unit vectors for a site, `[count, d_model]`, always the same for a seed."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + site.layer)
    drawn = torch.randn(count, d_model, generator=generator, dtype=torch.float64)
    directions: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return directions
