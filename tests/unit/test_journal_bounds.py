"""The journal's bounds: of one team, of the number of teams, and of everything together."""

import asyncio

import pytest

from cstar_mock import bounds
from cstar_mock.journal import Entry
from cstar_mock.state.memory import MemoryJournal


def entry(id_: str) -> Entry:
    return Entry(id_, 0, 0, "GET", "/", "", None, (), None, 200, None, 1.0, None)


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
    for team in ("one", "two", "one", "three"):
        asyncio.run(rings.record(team, entry(team)))
    assert kept(rings, "one", "two", "three") == [["one", "one"], [], ["three"]]


def test_all_rings_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand teams with a thousand entries each would be almost two gigabytes."""
    monkeypatch.setattr(bounds, "MOST_JOURNAL_ENTRIES", 4)
    rings = MemoryJournal(3)
    for team, id_ in (("one", "a"), ("one", "b"), ("two", "c"), ("two", "d"), ("two", "e"), ("two", "f")):
        asyncio.run(rings.record(team, entry(id_)))
    assert kept(rings, "one", "two") == [["b"], ["f", "e", "d"]]
    asyncio.run(rings.record("three", entry("g")))
    assert kept(rings, "one", "two", "three") == [[], ["f", "e", "d"], ["g"]]


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
