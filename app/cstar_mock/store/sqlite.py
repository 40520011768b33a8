"""SQLite's engine: a file in WAL mode, so that a reader sees the last commit and never waits for a writer.

A database in memory is such a file too, a private one: SQLite's own databases in memory block readers during a
write. Its name is removed as soon as its connections are open, so nothing is left behind, however the process ends.
"""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from cstar_mock.store.sqlite_file import File

BEGIN = "cstar_mock_begin"
"""The execution option that says how a connection begins a transaction; without it, each statement is its own."""

SNAPSHOT_THREADS = 2
"""Reads of any length at a time; further ones wait."""

_PRIVATE_CONNECTIONS = SNAPSHOT_THREADS + 3
"""The loop's reader, the writer, a thread for each snapshot, and one for work outside the event loop."""

_READER_WAITS_MS = 100
"""Seconds that a reader waits for a WAL that another process recovers; the event loop waits as well."""

_WRITER_WAITS_SECONDS = 5
"""Seconds that a write waits for another process's write, from its request on."""

_RETRY_SECONDS = 0.01

_STEPS = 10_000
"""SQLite's steps between two looks at whether the database is being closed."""

_ON_CONNECT = (
    # Of a file that is new. Twice as much as by default spares a large load a tenth, and costs a small write nothing.
    "PRAGMA page_size = 8192",
    "PRAGMA journal_mode = WAL",
    f"PRAGMA busy_timeout = {_READER_WAITS_MS}",
    "PRAGMA foreign_keys = ON",
    # In KiB. With the default of 2 MB, a large load would write the same pages again and again.
    "PRAGMA cache_size = -65536",
)


def is_private(url: URL) -> bool:
    """Whether a URL names a database in memory, which ends with this process."""
    return url.database in {None, "", ":memory:"}


def create(url: URL, is_closing: Callable[[], bool], file: File | None) -> Engine:
    """Return the engine of a SQLite database.

    Args:
        url: of a file, or of a database in memory.
        is_closing: whether running statements are to be interrupted.
        file: the file that the URL names; None for a database in memory.
    """
    # A statement names a parameter as often as it likes, and it is bound once.
    options: dict[str, Any] = {"paramstyle": "named", "hide_parameters": True}
    if file is None:
        opened = _Private(is_closing)
        options |= {"poolclass": QueuePool, "pool_size": _PRIVATE_CONNECTIONS, "max_overflow": 0}
        engine = create_engine("sqlite://", creator=opened.connection, **options)
    else:
        engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
        event.listen(engine, "do_connect", file.open_existing)
        event.listen(engine, "connect", file.opened)
        event.listen(engine, "connect", lambda driver, _record: _prepare(driver, is_closing, synchronous="NORMAL"))
    event.listen(engine, "begin", _begin)
    return engine


def wait_from(connection: Connection, asked: float) -> None:
    """Let a connection wait for other processes' writes.

    Args:
        connection: the writer's.
        asked: when the write was asked for, on the monotonic clock: what it waited for in our own queue counts.
    """
    left = max(0, asked + _WRITER_WAITS_SECONDS - time.monotonic())
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout = {round(left * 1000)}")


class _Private:
    """The connections of a file whose name is gone, so that no further one can be opened."""

    def __init__(self, is_closing: Callable[[], bool]) -> None:
        self._is_closing = is_closing
        self._unused: list[sqlite3.Connection] | None = None

    def connection(self) -> sqlite3.Connection:
        if self._unused is None:
            self._unused = self._open()
        if not self._unused:
            raise sqlite3.OperationalError("a database in memory ends when it is closed")
        return self._unused.pop()

    def _open(self) -> list[sqlite3.Connection]:
        folder = tempfile.mkdtemp(prefix="cstar-mock-", dir=_writable_folder())
        try:
            connections = []
            for _ in range(_PRIVATE_CONNECTIONS):
                connection = sqlite3.connect(Path(folder, "rows.db"), check_same_thread=False)
                _prepare(connection, self._is_closing, synchronous="OFF")
                # Only what is read opens the files beside the database.
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                connections.append(connection)
            return connections
        finally:
            shutil.rmtree(folder)


def _writable_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        # A container whose root can't be written to has this one, usually a small one.
        return "/dev/shm"  # noqa: S108  (the file in it has no name)


def _prepare(connection: sqlite3.Connection, is_closing: Callable[[], bool], *, synchronous: str) -> None:
    # The driver must not open transactions on its own: the `begin` hook decides which kind is needed.
    connection.isolation_level = None
    for pragma in (*_ON_CONNECT, f"PRAGMA synchronous = {synchronous}"):
        _execute_patiently(connection, pragma)
    connection.set_progress_handler(is_closing, _STEPS)


def _execute_patiently(connection: sqlite3.Connection, pragma: str) -> None:
    """Execute a pragma, and again while two processes switch a new file to WAL: SQLite does not wait for that."""
    deadline = time.monotonic() + _WRITER_WAITS_SECONDS
    while True:
        try:
            connection.execute(pragma)
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get(BEGIN)
    if statement is not None:
        connection.exec_driver_sql(statement)
