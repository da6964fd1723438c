"""What all models of this room share: frozen, strict, and one line for what does not fit."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from endoscope.errors import InputError


class Strict(BaseModel):
    """A frozen model that takes exactly its fields, and finite numbers only.

    Raises:
        InputError: something does not fit; says what in one line, without what was given.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"] if len(str(part)) <= 40)
    return f"{where}: {first['msg']}." if where else f"{first['msg']}."
