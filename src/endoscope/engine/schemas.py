"""The streaming contract as JSON Schemas; `python -m endoscope.engine.schemas` writes the files."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from endoscope.engine.requests import Finish, Sampling
from endoscope.interventions import AnyIntervention

FOLDER = Path(__file__).parent / "schemas"

Reading = tuple[int, float]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class CalibrationRecord(_Record):
    """Scale and shift of each class after the first; empty: as they are."""

    scale: list[float] = []
    shift: list[float] = []


class ReadoutRecord(_Record):
    """A probe without its evidence, as `Readout.record` writes it."""

    sites: Annotated[list[str], Field(min_length=1)]
    look_ahead: NonNegativeInt = 0
    readings: Annotated[int, Field(ge=1, le=2)] = 1
    head: dict[str, Any]
    tensors: dict[str, list[Any]]
    calibration: CalibrationRecord = CalibrationRecord()
    pooling: str | None = None


class RequestRecord(_Record):
    """A `Request`: one text to be generated."""

    id: str
    token_ids: Annotated[list[NonNegativeInt], Field(min_length=1)]
    sampling: Sampling = Sampling()
    readouts: dict[str, ReadoutRecord] = {}
    interventions: list[AnyIntervention] = []


class TokenLogprobRecord(_Record):
    """A token and the natural logarithm of its probability."""

    token_id: NonNegativeInt
    text: str
    logprob: float


class StepRecord(_Record):
    """A `Step`, as `Step.record` writes it: one generated token, or the end of a request.

    Readings are `[position, score]`, the score being the probability that this is not "nothing";
    of a readout with several labels, `name.LABEL` gives the probability of each.
    """

    position: NonNegativeInt
    token_id: Annotated[int, Field(ge=-1)]
    text: str
    span: tuple[NonNegativeInt, NonNegativeInt]
    readings: dict[str, list[Reading]]
    logprob: float | None
    top: list[TokenLogprobRecord]
    finish: Finish | None
    error: str | None


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of `request` and `step`."""
    records: dict[str, type[BaseModel]] = {"request": RequestRecord, "step": StepRecord}
    return {name: record.model_json_schema() for name, record in records.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (FOLDER / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n")
