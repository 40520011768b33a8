"""Who waits for whom on SQLite: a reader for nobody, a writer for its turn, and the event loop for neither."""

import asyncio
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from tests.engines import Engines

from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.store import migrations
from cstar_mock.store.database import Database

PATIENCE = 30
"""Seconds until a test gives up something that should have happened at once."""


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Return a SQLite database with an empty table `notes`."""
    database = Database(f"sqlite:///{tmp_path / 'some.db'}" if request.param == "file" else "sqlite://")
    database.write_now(_execute, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")
    yield database
    database.close()


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM notes")).scalar_one())


class _Slow:
    """Work that writes a row and then goes on until it may end."""

    def __init__(self) -> None:
        self.has_written = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, connection: Connection) -> None:
        _execute(connection, "INSERT INTO notes DEFAULT VALUES")
        self.has_written.set()
        assert self.may_end.wait(PATIENCE)


def test_the_event_loop_reads_what_was_last_committed_while_a_write_goes_on(database: Database) -> None:
    slow = _Slow()

    async def run() -> tuple[int, int]:
        write = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(slow.has_written.wait, PATIENCE)
        during = await database.read(_count)
        assert not write.done()
        slow.may_end.set()
        await write
        return during, await database.read(_count)

    assert asyncio.run(run()) == (0, 1)


def test_writes_are_done_one_after_the_other_in_their_order(database: Database) -> None:
    slow, order = _Slow(), list[int]()

    def note(_connection: Connection, number: int) -> None:
        order.append(number)

    async def run() -> None:
        first = asyncio.create_task(database.write(slow))
        await asyncio.to_thread(slow.has_written.wait, PATIENCE)
        others = [asyncio.create_task(database.write(note, number)) for number in range(9)]
        slow.may_end.set()
        await asyncio.gather(first, *others)

    asyncio.run(run())
    assert order == list(range(9))


def test_a_write_that_fails_writes_nothing(database: Database) -> None:
    def work(connection: Connection) -> None:
        _execute(connection, "INSERT INTO notes DEFAULT VALUES")
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(database.write(work))
    assert database.read_now(_count) == 0


def test_a_write_that_waits_for_another_process_keeps_no_reader_waiting(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'some.db'}")
    database.write_now(_execute, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")

    async def run() -> None:
        with closing(sqlite3.connect(tmp_path / "some.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            write = asyncio.create_task(database.write(_execute, "INSERT INTO notes DEFAULT VALUES"))
            for _ in range(10):
                assert await database.read(_count) == 0
                assert await database.read_snapshot(_count) == 0
            assert not write.done()
            other.execute("ROLLBACK")
            await write

    asyncio.run(run())
    assert database.read_now(_count) == 1
    database.close()


def test_a_snapshot_is_of_one_moment(engines: Engines) -> None:
    with engines.place() as place:
        database = Database(place.url)
        database.write_now(_execute, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        counts: list[int] = []
        counted, written = threading.Event(), threading.Event()

        def read(connection: Connection) -> None:
            counts.append(_count(connection))
            counted.set()
            assert written.wait(PATIENCE)
            counts.append(_count(connection))

        async def run() -> None:
            reading = asyncio.create_task(database.read_snapshot(read))
            await asyncio.to_thread(counted.wait, PATIENCE)
            await database.write(_execute, "INSERT INTO notes VALUES (1)")
            counts.append(await database.read(_count))
            written.set()
            await reading

        try:
            asyncio.run(run())
        finally:
            database.write_now(_execute, "DROP TABLE notes")
            database.close()
    assert counts == [0, 1, 0]


def test_a_database_in_memory_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    database = Database("sqlite://")
    migrations.prepare(database)
    assert list(tmp_path.iterdir()) == []
    database.close()
    with pytest.raises(StoreUnavailable):
        database.read_now(_count)


def test_closing_interrupts_a_write(database: Database) -> None:
    begun = threading.Event()

    def work(connection: Connection) -> None:
        _execute(connection, "INSERT INTO notes DEFAULT VALUES")
        begun.set()
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        connection.execute(text(endless))

    async def run() -> None:
        write = asyncio.create_task(database.write(work))
        await asyncio.to_thread(begun.wait, PATIENCE)
        database.close()
        with pytest.raises(StoreUnavailable):
            await write

    asyncio.run(run())
