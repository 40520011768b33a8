"""The journal's bounds: of one team, of the number of teams, and of everything together."""

import asyncio
import tracemalloc

import pytest

from cstar_mock import bounds
from cstar_mock.state.memory import MemoryJournal
from cstar_mock.traffic.journal import Entry, RequestState, shown_header, shown_headers


def entry(id_: str, arrived: float = 0.0, size: int = 0) -> Entry:
    return Entry(
        id_, 0, 0, "GET", "/", "", None, (), None, RequestState.ANSWERED, 200, None, 1.0, None, None, arrived, size
    )


def kept(of: MemoryJournal, *teams: str) -> list[list[str]]:
    return [[one.id for one in asyncio.run(of.entries(team))] for team in teams]


def test_a_full_ring_forgets_its_oldest_entry() -> None:
    ring = MemoryJournal(2)
    for id_ in "abc":
        asyncio.run(ring.record("team", entry(id_)))
    assert kept(ring, "team") == [["c", "b"]]


def test_the_team_that_was_quiet_the_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_JOURNAL_TEAMS", 2)
    rings = MemoryJournal(10)
    for team, id_ in (("one", "a"), ("two", "b"), ("one", "c"), ("three", "d")):
        asyncio.run(rings.record(team, entry(id_)))
    assert kept(rings, "one", "two", "three") == [["c", "a"], [], ["d"]]


def test_all_rings_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand teams with a thousand entries each would be almost two gigabytes."""
    monkeypatch.setattr(bounds, "MOST_JOURNAL_ENTRIES", 4)
    rings = MemoryJournal(3)
    for team, id_ in (("one", "a"), ("one", "b"), ("two", "c"), ("two", "d"), ("two", "e"), ("two", "f")):
        asyncio.run(rings.record(team, entry(id_)))
    assert kept(rings, "one", "two") == [["b"], ["f", "e", "d"]]
    asyncio.run(rings.record("three", entry("g")))
    assert kept(rings, "one", "two", "three") == [[], ["f", "e", "d"], ["g"]]


def test_all_rings_together_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "JOURNAL_BYTES", 10_000)
    rings = MemoryJournal(100)
    for id_ in "abc":
        asyncio.run(rings.record("one", entry(id_, size=2_000)))
    asyncio.run(rings.record("two", entry("d", size=2_000)))
    assert kept(rings, "one", "two") == [["c", "b"], ["d"]]
    assert asyncio.run(rings.dropped("one")) == 1
    asyncio.run(rings.clear("one"))
    for id_ in "efg":
        asyncio.run(rings.record("two", entry(id_, size=2_000)))
    assert kept(rings, "one", "two") == [[], ["g", "f", "e"]]


def test_the_cache_of_headers_holds_no_long_ones() -> None:
    shown_header.cache_clear()
    tracemalloc.start()
    try:
        for number in range(bounds.MOST_CACHED_HEADERS + 100):
            shown_headers([(b"%d" % number + b"n" * 30_000, b"v" * 10_000)])
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shown_header.cache_info().currsize == bounds.MOST_CACHED_HEADERS
    assert taken < 2_000_000


def test_entries_are_in_the_order_of_arrival_and_updated_in_their_place() -> None:
    rings = MemoryJournal(3)
    for id_, arrived in (("a", 1.0), ("c", 3.0), ("b", 2.0)):
        asyncio.run(rings.record("team", entry(id_, arrived)))
    assert kept(rings, "team") == [["c", "b", "a"]]
    asyncio.run(rings.update("team", entry("b", 2.0)._replace(status=503)))
    assert [one.status for one in asyncio.run(rings.entries("team"))] == [200, 503, 200]


def test_what_was_dropped_or_cleared_is_not_updated() -> None:
    rings = MemoryJournal(1)
    for id_ in "ab":
        asyncio.run(rings.record("team", entry(id_)))
    asyncio.run(rings.update("team", entry("a")))
    assert kept(rings, "team") == [["b"]]
    asyncio.run(rings.clear("team"))
    asyncio.run(rings.update("team", entry("b")))
    assert kept(rings, "team") == [[]]


def test_what_is_cleared_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_JOURNAL_ENTRIES", 2)
    rings = MemoryJournal(3)
    asyncio.run(rings.record("one", entry("a")))
    asyncio.run(rings.clear("one"))
    asyncio.run(rings.clear("nobody"))
    asyncio.run(rings.record("one", entry("b")))
    asyncio.run(rings.record("two", entry("c")))
    assert kept(rings, "one", "two") == [["b"], ["c"]]
    asyncio.run(rings.clear())
    asyncio.run(rings.record("one", entry("d")))
    asyncio.run(rings.record("two", entry("e")))
    assert kept(rings, "one", "two") == [["d"], ["e"]]
