"""Periods: the rolling windows that an overview can look back on (contract §5)."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import parse_qsl

from cstar_mock.contract import errors
from cstar_mock.contract.clock import DAY, Duration, Instant
from cstar_mock.contract.errors import ApiError
from cstar_mock.contract.redaction import redacted


class Period(StrEnum):
    """The values of `period`; `week` is documented, the others and all lengths but its own are ours."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


DEFAULT = Period.WEEK
"""The period of a request without one [doc]."""

LENGTHS: dict[Period, Duration] = {
    Period.DAY: DAY,
    Period.WEEK: 7 * DAY,
    Period.MONTH: 30 * DAY,
    Period.QUARTER: 90 * DAY,
    Period.YEAR: 365 * DAY,
}

_BY_VALUE = {period.value: period for period in Period}


@dataclass(frozen=True, slots=True)
class Window:
    """The instants after `start`, up to and including `end`, which is the team's now.

    So a row written while the clock is frozen counts at once, and a row exactly one length old has just left.
    """

    start: Instant
    end: Instant


def window(period: Period, now: Instant) -> Window:
    """Return the window of a period that ends now."""
    return Window(now - LENGTHS[period], now)


@lru_cache(maxsize=256)  # the checks of one request ask for it several times
def requested(query_string: bytes) -> Period:
    """Return the period that a query string asks for; other parameters are ignored.

    Raises:
        ApiError: PARAMETER_INVALID; the value is empty, unknown, in upper case, or repeated.
    """
    if not query_string:
        return DEFAULT
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    values = [value for name, value in pairs if name == "period"]
    if not values:
        return DEFAULT
    if len(values) == 1 and values[0] in _BY_VALUE:
        return _BY_VALUE[values[0]]
    raise ApiError(
        errors.PARAMETER_INVALID,
        param="period",
        parameter="period",
        value=redacted(", ".join(repr(value) for value in values))[:200],
        allowed=f"{', '.join(_BY_VALUE)}" + (" (once)" if len(values) > 1 else ""),
    )
