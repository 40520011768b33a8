"""Time: instants, durations, and the clock that each team owns.

An instant is a whole number of microseconds since 1970-01-01T00:00:00Z, in memory and in the store. Whole
numbers compare, subtract and add up the same way in Python, SQLite and PostgreSQL, and have no time zone.
"""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cstar_mock import bounds
from cstar_mock.contract.json_types import quoted

Instant: TypeAlias = int
"""Microseconds since 1970-01-01T00:00:00Z."""

Duration: TypeAlias = int
"""Microseconds."""

SECOND: Duration = 1_000_000
MINUTE: Duration = 60 * SECOND
HOUR: Duration = 60 * MINUTE
DAY: Duration = 24 * HOUR

EARLIEST: Instant = -62_135_596_800 * SECOND
"""0001-01-01T00:00:00Z."""

LATEST: Instant = 253_402_300_799 * SECOND
"""9999-12-31T23:59:59Z, the last second that ISO 8601 writes with four digits."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_NOW = (datetime(bounds.EARLIEST_CLOCK_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST_NOW = (datetime(bounds.LATEST_CLOCK_YEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_RELATIVE = re.compile(r"([+-])((?:\d{1,9}[smhdw])+)", re.ASCII)
_ISO_DURATION = re.compile(
    r"P(?:(\d{1,6})W|(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?)?)", re.ASCII
)
_LENGTH = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class TeamClock:
    """The clock of one team.

    `frozen_at` stops the clock at that instant. `offset` is what a running clock is ahead of real time.
    `advanced` is the sum of all advances ever made: the rate-limit windows follow it, and nothing else.
    """

    frozen_at: Instant | None = None
    offset: Duration = 0
    advanced: Duration = 0

    def now(self) -> Instant:
        """Return the team's present instant."""
        return real_now() + self.offset if self.frozen_at is None else self.frozen_at


REAL_TIME = TeamClock()


def real_now() -> Instant:
    """Return the machine's present instant."""
    return time.time_ns() // 1000


def iso(instant: Instant) -> str:
    """Write an instant as documented: UTC, ISO 8601, whole seconds, `Z` [doc]."""
    return (_EPOCH + timedelta(seconds=instant // SECOND)).isoformat()[:19] + "Z"


def iso_exact(instant: Instant) -> str:
    """Write an instant like `iso`, with its fraction of a second if it has one."""
    fraction = instant % SECOND
    return iso(instant) if not fraction else f"{iso(instant)[:-1]}.{fraction:06d}".rstrip("0") + "Z"


def parse_instant(text: str) -> Instant:
    """Read an ISO 8601 date and time with a UTC offset (`Z` or `+02:00`).

    Raises:
        ValueError: the text is not a date and time, has no offset, or is outside the years 1 to 9999.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an ISO 8601 date and time such as 2025-12-10T14:30:00Z") from None
    if _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is a date without a time; write {text}T00:00:00Z")
    if moment.tzinfo is None:
        raise ValueError(f"{quoted(text)} has no UTC offset; end it with Z")
    return checked_instant((moment - _EPOCH) // _MICROSECOND)


def checked_instant(instant: Instant) -> Instant:
    """Return the instant if ISO 8601 can write it.

    Raises:
        ValueError: it is outside the years 1 to 9999.
    """
    if not EARLIEST <= instant <= LATEST:
        raise ValueError("the instant is outside the years 1 to 9999")
    return instant


def parse_clock(text: str) -> Instant:
    """Read an instant that a team's clock can be set to.

    Raises:
        ValueError: the text is no instant, or the clock can't be set to it.
    """
    return checked_now(parse_instant(text))


def checked_now(instant: Instant) -> Instant:
    """Return the instant if a team's clock can show it.

    Periods, recipes and answers reach back from the clock, and windows and rules reach ahead of it: all of that has to
    stay inside the years that can be written.

    Raises:
        ValueError: it is outside the years that a clock can show.
    """
    if not _EARLIEST_NOW <= instant < _LATEST_NOW:
        raise ValueError(f"a clock shows the years {bounds.EARLIEST_CLOCK_YEAR} to {bounds.LATEST_CLOCK_YEAR}")
    return instant


def parse_moment(text: str, now: Instant) -> Instant:
    """Read an instant that may be relative to `now`: `now`, `-3d`, `-1h30m`, `+2w`, or ISO 8601.

    Raises:
        ValueError: the text is neither.
    """
    if text == "now":
        return now
    relative = _RELATIVE.fullmatch(text)
    if relative is None:
        if text[:1] in "+-":
            raise ValueError(f"{quoted(text)} is not a relative time such as -3d, -1h30m or +2w (units s m h d w)")
        return parse_instant(text)
    length = parse_length(relative[2])
    return checked_instant(now + length if relative[1] == "+" else now - length)


def parse_iso_duration(text: str) -> Duration:
    """Read an ISO 8601 duration of weeks, days, hours, minutes and seconds: `PT1H`, `P7D`, `P1DT12H`, `P2W`.

    Raises:
        ValueError: the text is no such duration; months and years have no fixed length.
    """
    found = _ISO_DURATION.fullmatch(text)
    if found is None or not any(found.groups()) or text.endswith("T"):
        raise ValueError(f"{quoted(text)} is not an ISO 8601 duration such as PT1H, P7D or P1DT12H")
    units = (7 * DAY, DAY, HOUR, MINUTE, SECOND)
    return sum(int(number or 0) * unit for number, unit in zip(found.groups(), units, strict=True))


def parse_length(text: str) -> Duration:
    """Read a length of time: `90s`, `5m`, `1h30m`, `7d`, `2w`.

    Raises:
        ValueError: the text is no such length.
    """
    parts = _LENGTH.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{quoted(text)} is not a length of time such as 90s, 5m, 1h30m or 7d")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)
