"""Instants, relative times, lengths and the clock of a team."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstar_mock.contract import clock
from cstar_mock.contract.clock import DAY, HOUR, MINUTE, SECOND, TeamClock

NOW = clock.parse_instant("2025-12-10T14:30:00Z")


@given(st.integers(clock.EARLIEST, clock.LATEST))
def test_an_instant_survives_being_written_exactly_and_read(instant: int) -> None:
    assert clock.parse_instant(clock.iso_exact(instant)) == instant
    assert clock.parse_instant(clock.iso(instant)) == instant - instant % SECOND


@pytest.mark.states("error.timestamp")
def test_an_instant_is_written_as_documented() -> None:
    assert clock.iso(NOW + 999_999) == "2025-12-10T14:30:00Z"
    assert clock.iso_exact(NOW + 500_000) == "2025-12-10T14:30:00.5Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("-3d", NOW - 3 * DAY),
        ("+1h30m", NOW + HOUR + 30 * MINUTE),
        ("-2w", NOW - 14 * DAY),
        ("-90s", NOW - 90 * SECOND),
        ("2025-12-10T15:30:00+01:00", NOW),
    ],
)
def test_moments_are_absolute_or_relative(text: str, expected: int) -> None:
    assert clock.parse_moment(text, NOW) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("yesterday", "ISO 8601"),
        ("2025-12-10", "write 2025-12-10T00:00:00Z"),
        ("-٣d", "relative time"),
        ("2025-12-10T14:30:00", "no UTC offset"),
        ("-3", "relative time"),
        ("-3y", "relative time"),
        ("3d", "ISO 8601"),
        ("-999999999d", "the years 1 to 9999"),
    ],
)
def test_other_text_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        clock.parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("0099-12-31T23:59:59Z", False),
        ("0100-01-01T00:00:00Z", True),
        ("9899-12-31T23:59:59.999999Z", True),
        ("9900-01-01T00:00:00Z", False),
    ],
)
def test_a_clock_stays_a_century_away_from_the_ends_of_the_years(text: str, works: bool) -> None:
    if works:
        assert clock.parse_clock(text) == clock.parse_instant(text)
    else:
        with pytest.raises(ValueError, match="the years 100 to 9899"):
            clock.parse_clock(text)


@pytest.mark.parametrize(
    ("text", "length"),
    [("PT1H", HOUR), ("P7D", 7 * DAY), ("P1DT12H", 36 * HOUR), ("P2W", 14 * DAY), ("PT90S", 90 * SECOND), ("PT0S", 0)],
)
def test_iso_durations_are_read(text: str, length: int) -> None:
    assert clock.parse_iso_duration(text) == length


@pytest.mark.parametrize("text", ["", "P", "PT", "P1DT", "1H", "P1M", "P1Y", "-PT1H", "PT1.5H"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601 duration"):
        clock.parse_iso_duration(text)


@pytest.mark.parametrize("text", ["", "3", "d", "3d 4h", "-3d", "3x"])
def test_other_lengths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="length of time"):
        clock.parse_length(text)


def test_a_frozen_clock_stands_still_and_a_running_one_is_offset() -> None:
    assert TeamClock(frozen_at=NOW, offset=DAY).now() == NOW
    before = clock.real_now()
    assert before + DAY <= TeamClock(offset=DAY).now() <= clock.real_now() + DAY
