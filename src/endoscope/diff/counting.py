"""What a method costs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from endoscope.diff.pair import Pair


class Tokens:
    """How many tokens went through the models."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        """Count what is embedded: a hook before the forward pass of an embedding."""
        self.count += inputs[0].numel()


@contextmanager
def counting(pair: Pair) -> Iterator[Tokens]:
    """Count the tokens that go through either model, padding included."""
    tokens = Tokens()
    with ExitStack() as hooks:
        for model in pair:
            embedding: Any = model.loaded.module.get_input_embeddings()
            hooks.callback(embedding.register_forward_pre_hook(tokens.add).remove)
        yield tokens
