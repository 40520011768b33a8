"""Types of values that people send: JSON's integer, number and boolean, and nothing that only looks like one."""

from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, Strict, WithJsonSchema


def _whole(value: object) -> object:
    if isinstance(value, bool | str) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("input should be a whole number")
    return int(value) if isinstance(value, float) else value


def _decimal(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("input should be a number")  # noqa: TRY004  (pydantic wants it)
    return Decimal(repr(value)) if isinstance(value, float) else value


WHOLE = BeforeValidator(_whole)
"""Makes an `int` JSON's integer: `5`, also written `5.0`; stands behind its bounds, so that the schema has them."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""JSON's number."""

Exact = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(float, when_used="json"),
    WithJsonSchema({"type": "number"}),
]
"""JSON's number, digit by digit as it was written."""

Flag = Annotated[bool, Strict()]
"""JSON's boolean."""
