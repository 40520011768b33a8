"""The two pairs of engines that the product stands on, each giving a test places of its own to keep things in.

SQLite goes with the state in this process, PostgreSQL with the state in Valkey: so every test that keeps something runs
on what a laptop has, and on what a sandbox has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import make_url, text

from cstar_mock.state.valkey import Engine as Valkey
from cstar_mock.store import migrations
from cstar_mock.store.database import Database

MOST_PLACES = 15
"""A Valkey has sixteen databases, and the first one is for the tests that take the Valkey itself."""


@dataclass(frozen=True)
class Place:
    """An empty database with its schema, and the settings of an application that keeps its state beside it."""

    url: str
    settings: dict[str, Any] = field(default_factory=dict)


class Engines(Protocol):
    """A database engine and an engine of the state."""

    embedded: bool

    def place(self) -> Any:
        """Return a context manager that gives a `Place`, which nobody else has until it ends."""


class Embedded:
    """SQLite in memory, and the state in this process."""

    embedded = True

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Give a place that goes with its connection."""
        yield Place("sqlite://")


class Shared:
    """A PostgreSQL and a Valkey, in which emptied places are used again: making one takes longer than emptying it."""

    embedded = False

    def __init__(self, postgresql: str, valkey: str) -> None:
        self._url = make_url(postgresql)
        self._valkey = valkey
        self._free: list[tuple[Place, Database]] = []
        self._made = 0
        self._server = Database(postgresql)
        # What is lost in a crash is of no use to a test, and waiting for disks is most of what a small write takes.
        self._alone("ALTER SYSTEM SET fsync = off")
        self._alone("SELECT pg_reload_conf()")
        self._alone("CREATE DATABASE pattern")
        pattern = Database(self._url.set(database="pattern").render_as_string(hide_password=False))
        migrations.upgrade(pattern)
        pattern.close()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Give an empty place, and empty it afterwards."""
        place, owner = self._free.pop() if self._free else self._make()
        yield place
        owner.write_now(lambda connection: connection.execute(text("TRUNCATE teams CASCADE")))
        self._flush(place)
        self._free.append((place, owner))

    def close(self) -> None:
        """Close the connections that were kept to empty places."""
        for _, owner in self._free:
            owner.close()
        self._server.close()

    def _make(self) -> tuple[Place, Database]:
        self._made += 1
        assert self._made <= MOST_PLACES, "a test holds more applications than a Valkey has databases"
        name = f"place_{self._made}"
        self._alone(f"CREATE DATABASE {name} TEMPLATE pattern")
        url = self._url.set(database=name).render_as_string(hide_password=False)
        place = Place(url, {"state": f"{self._valkey}/{self._made}", "state_timeout": 10})
        return place, Database(url)

    def _alone(self, statement: str) -> None:
        """Send a statement that can't be part of a transaction."""
        self._server.read_now(lambda connection: connection.execute(text(statement)))

    def _flush(self, place: Place) -> None:
        import asyncio

        asyncio.run(Valkey(place.settings["state"], 10).send("FLUSHDB"))
