"""How far a diff goes."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from endoscope.behaviours import Behaviour
from endoscope.catalogue import Catalogue
from endoscope.diff.prompts import Prompt


class Options(BaseModel):
    """What all methods of a diff are given.

    Args:
        prompts: what both models are asked.
        behaviours: that are measured on both.
        catalogue: a folder of directions to measure shifts along, if there is one.
        data: the training data, if it is at hand: JSON lines `{"messages": [...]}`.
        max_tokens: of an answer.
        seed: of everything random.
        show: whether to show progress.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[Prompt, ...] = Field(min_length=1)
    behaviours: tuple[Behaviour, ...] = ()
    catalogue: Path | None = None
    data: Path | None = None
    max_tokens: int = Field(default=48, ge=1)
    seed: int = Field(default=0, ge=0)
    show: bool = False

    def about(self) -> JsonValue:
        """Return what decides what the models say and score: other work has another."""
        return [
            [[*prompt] for prompt in self.prompts],
            *sorted(behaviour.sha256 for behaviour in self.behaviours),
            self.max_tokens,
            self.seed,
            self._catalogue(),
        ]

    def _catalogue(self) -> JsonValue:
        if self.catalogue is None:
            return None
        cards = Catalogue(self.catalogue).cards("direction")
        return {name: card.tensors_sha256 for name, card in cards}
