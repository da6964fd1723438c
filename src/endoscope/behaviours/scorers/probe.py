"""What a probe reads in the model while it answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from endoscope.behaviours.item import Item
from endoscope.behaviours.scorers.base import Score, answers_to
from endoscope.engine import Model
from endoscope.errors import InputError
from endoscope.probes import Probe


class ProbeScorer(BaseModel):
    """Let the model answer, and read the answer with a probe of the model's own activations.

    A probe of tokens gives the highest probability of any token of the answer; one of documents
    that of the answer. A probe of the model that the measured one was made from is read as well,
    with a warning: its evidence is not valid there.

    Args:
        probe: its folder, from where the measurement is run.
        label: the class that counts; all but the first ("nothing here") together if left out.
        max_tokens: of an answer.
        temperature: 0 takes the most probable token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["probe"]
    probe: str = Field(min_length=1)
    label: str | None = None
    max_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)

    def problem(self, item: Item) -> str | None:
        """Say why an item cannot be scored; every item can."""
        return None

    def score(
        self, model: Model, items: Sequence[Item], *, seed: int, progress: bool
    ) -> list[Score]:
        """Return what the probe says of each answer, and the answer.

        Raises:
            InputError: there is no such probe, it has no such label, or is of a foreign model.
        """
        probe = Probe.load(Path(self.probe))
        written = answers_to(self, model, items, seed=seed, progress=progress)
        said = [number for number, answer in enumerate(written) if answer.strip()]
        values = dict(zip(said, self._read(probe, model, [written[n] for n in said]), strict=True))
        return [Score(values.get(n, 0.0), answer) for n, answer in enumerate(written)]

    def _read(self, probe: Probe, model: Model, texts: Sequence[str]) -> list[float]:
        columns = self._columns(probe)
        if probe.pooling is not None:
            found = probe.score_documents(model, texts).probabilities
            return [float(row[columns].sum()) for row in found]
        return [
            float(scores.probabilities[:, columns].sum(1).max())
            for scores in probe.score(model, texts)
        ]

    def _columns(self, probe: Probe) -> list[int]:
        if self.label is None:
            return list(range(1, len(probe.labels)))
        if self.label not in probe.labels:
            raise InputError(
                f"The probe {probe.name} has no label {self.label!r}.",
                f"It has: {', '.join(probe.labels)}.",
            )
        return [probe.labels.index(self.label)]
