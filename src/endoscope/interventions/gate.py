"""Gates: a probe's decision about whether an intervention acts."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, PlainValidator, model_validator
from pydantic.json_schema import WithJsonSchema

from endoscope.errors import InputError
from endoscope.interventions.strict import Strict
from endoscope.readouts import Readout

Hold = Literal["token", "latch"] | Annotated[int, Field(ge=1)]


def _readout(value: Any) -> Readout:
    if isinstance(value, Readout):
        return value
    if not isinstance(value, Mapping):
        raise InputError("A gate's readout is an object.", "Give what Readout.record() writes.")
    return Readout.from_record(value)


class Gate(Strict):
    """Lets an intervention act where a probe says so.

    The probe reads every token of the request, from what is at its site before anything is written
    there. At or before the intervention's site, and without look-ahead, its decision acts in the
    same forward pass; else from the next pass on, for which the whole prompt counts as one. A
    probe with a pooling decides by the score of the document so far.

    Attributes:
        readout: what is read; a `Probe` has one.
        label: the class whose probability counts.
        threshold: the gate fires where the probability is this or more.
        hold: for how long it then is open: `token`, that token alone; a number, that many tokens;
            `latch`, from there on.
    """

    readout: Annotated[
        Readout,
        PlainValidator(_readout),
        PlainSerializer(Readout.record),
        WithJsonSchema({"type": "object"}),
    ]
    label: str
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    hold: Hold = "token"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.label not in self.readout.labels:
            raise InputError(
                f"The gate's probe has no class {self.label!r}.",
                f"Choose one of {', '.join(self.readout.labels)}.",
            )
        if self.readout.spec.readings != 1:
            raise InputError(
                "The gate's probe reads the whole text twice, which a gate cannot.",
                "Fit a probe with readings=1.",
            )
        return self

    @property
    def tokens(self) -> float:
        """For how many tokens it is open once it has fired; infinity for ever."""
        match self.hold:
            case "token":
                return 1
            case "latch":
                return float("inf")
            case number:
                return number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gate) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash((self.label, self.threshold, self.hold))

    def __repr_args__(self) -> Any:
        yield from {**dict(self), "readout": self.readout}.items()
