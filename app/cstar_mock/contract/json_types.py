"""Strict types of JSON values: text, integer, number and boolean; nothing is converted."""

import math
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainSerializer, Strict, WithJsonSchema

_LONGEST_QUOTE = 80


def quoted(text: str) -> str:
    """Return a text in quotes for a message: on one line, and cut off where it is long."""
    return repr(text) if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]!r}…"


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded: a lone surrogate, half of a character in UTF-16, can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("text can't contain a NUL character")
    if not is_unicode(value):
        raise ValueError("text can't contain a lone surrogate")
    return value


def _json(value: JsonValue) -> JsonValue:
    """Refuse values that JSON does not have: they could not be written into an answer."""
    pending: list[JsonValue] = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending += [*part, *part.values()]
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, str) and not is_unicode(part):
            raise ValueError("text can't contain a lone surrogate")
        elif isinstance(part, float) and not math.isfinite(part):
            raise ValueError("JSON has no NaN and no Infinity")
    return value


def _whole(value: object) -> object:
    if isinstance(value, bool | str) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("input should be a whole number")
    return int(value) if isinstance(value, float) else value


def _decimal(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("input should be a number")  # noqa: TRY004  (pydantic wants it)
    return Decimal(repr(value)) if isinstance(value, float) else value


Text = Annotated[str, AfterValidator(_text)]
"""Text that every engine can store: without NUL, which PostgreSQL lacks, and without lone surrogates, which UTF-8
lacks. Types that narrow it put their bounds behind it."""

Json = Annotated[JsonValue, AfterValidator(_json)]
"""Any JSON value that can be written as UTF-8."""

WHOLE = BeforeValidator(_whole)
"""Makes an `int` JSON's integer: `5`, also written `5.0`. Put it after the bounds, so that the schema has them."""

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
