"""The store's one door: it opens, commits, rolls back, and knows where work may wait.

Work is a plain function of a connection. On SQLite, a read of a few rows runs on the event loop itself: it takes
microseconds and never waits. Writes run in one thread, one after the other, and reads of any length in two. On
PostgreSQL all work runs in one of as many threads as there are connections. Callers can't tell the difference.
"""

import asyncio
import os
import select
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakSet

from sqlalchemy import ClauseElement, Connection, Dialect, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DatabaseError, InterfaceError, InvalidatePoolError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cstar_mock import sqlite
from cstar_mock.errors import StoreUnavailable
from cstar_mock.models import Base

SCHEMA_REVISION = "0003"
"""The newest migration; a test compares it with `migrations/`."""

_UNREACHABLE = (OperationalError, InterfaceError, PoolTimeoutError)
_NO_DATABASE = {"SQLITE_NOTADB", "SQLITE_CORRUPT"}
_GRACE_SECONDS = 1
"""How much longer than a statement may take we wait for the engine to say that it took too long."""

P = ParamSpec("P")
T = TypeVar("T")


class SchemaOutdated(Exception):
    """The database has no schema, or not the newest; `cstar-mock db upgrade` brings it up to date."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of PostgreSQL to take, and how long to wait for it; SQLite needs none of them.

    Attributes:
        pool_size: connections, and threads that work on them.
        pool_timeout: seconds to wait for one of them to be free.
        connect_timeout: seconds to wait for a new connection.
        statement_timeout: seconds that a statement may take; None for any time, as loading and migrating need.
    """

    pool_size: int = 10
    pool_timeout: float = 5
    connect_timeout: int = 3
    statement_timeout: float | None = None


class Database:
    """A SQLite or PostgreSQL database, by its SQLAlchemy URL.

    Attributes:
        observe: called with `read` or `write` and the seconds that the work took, if somebody wants to know.
    """

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self.url = make_url(url)
        self.limits = limits or Limits()
        self.observe: Callable[[str, float], None] | None = None
        self.embedded = self.url.get_backend_name() == "sqlite"
        self._closing = threading.Event()
        if self.embedded:
            self.engine = sqlite.create(self.url, self._closing.is_set)
            self._writer: Engine = self.engine.execution_options(**{sqlite.BEGIN: "BEGIN IMMEDIATE"})
            self._snapshots: Engine = self.engine.execution_options(**{sqlite.BEGIN: "BEGIN"})
        else:
            self.engine = create_engine(
                self.url,
                pool_size=self.limits.pool_size,
                max_overflow=0,
                pool_timeout=self.limits.pool_timeout,
                connect_args=_connect_args(self.limits, str(self.url.query.get("options", ""))),
            )
            if self.limits.statement_timeout is not None:
                event.listen(self.engine, "do_connect", partial(_connect_impatiently, self.limits.statement_timeout))
            event.listen(self.engine, "connect", lambda driver, _record: self._connections.add(driver))
            event.listen(self.engine, "checkout", _refuse_if_closed)
            self._writer = self.engine
            self._snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            # A statement is a transaction of its own, which spares two of three round trips; on SQLite it is anyway.
            self._committed = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connections: WeakSet[Any] = WeakSet()
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._reader: Connection | None = None
        self._writes = 0

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that reads a few rows, and return its result.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        if self.embedded:
            return self.read_now(work, *args, **kwargs)
        return await self._in_thread("read", partial(self.read_now, work, *args, **kwargs), self._longest_read())

    async def read_snapshot(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work that reads any number of rows, all as they are at one moment, and return its result.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        call = partial(self._timed, "read", partial(self._read_snapshot, work, *args, **kwargs))
        return await self._in_thread("snapshot", call, self._longest_read())

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in one transaction, committed if it returns and rolled back if it raises.

        Raises:
            StoreUnavailable: the database can't be reached; on SQLite, another process writes for too long.
        """
        asked = time.monotonic()
        return await self._in_thread("write", lambda: self._write_since(asked, work, *args, **kwargs))

    def _longest_read(self) -> float | None:
        limits = self.limits
        return None if limits.statement_timeout is None else limits.pool_timeout + limits.statement_timeout

    async def _in_thread(self, purpose: str, call: Callable[[], T], most_seconds: float | None = None) -> T:
        # The trace that a statement belongs to is in the context.
        future = self._executor(purpose).submit(copy_context().run, call)
        # Cancelling does nothing any more once a thread has begun. On SQLite only our own work can be in the way, which
        # ends by itself.
        patience = None
        if not self.embedded:
            patience = asyncio.get_running_loop().call_later(self.limits.pool_timeout, future.cancel)
        try:
            async with asyncio.timeout(most_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise StoreUnavailable from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise StoreUnavailable from error
        finally:
            if patience is not None:
                patience.cancel()

    def _executor(self, purpose: str) -> ThreadPoolExecutor:
        """Return the threads for a purpose: on SQLite one writes and others read, on PostgreSQL all do all."""
        if self.embedded:
            size = 1 if purpose == "write" else sqlite.SNAPSHOT_THREADS
        else:
            # More threads than connections would only wait for one, each with a request that could be refused.
            purpose, size = "database", self.limits.pool_size
        if purpose not in self._threads:
            self._threads[purpose] = ThreadPoolExecutor(size, f"cstar-mock-{purpose}")
        return self._threads[purpose]

    def read_now(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what `read` does, for callers without an event loop."""
        if self.observe is None:
            return self._read(work, *args, **kwargs)
        return self._timed("read", partial(self._read, work, *args, **kwargs))

    def _read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _engine_errors():
            if not self.embedded:
                with self._committed.connect() as connection:
                    return work(connection, *args, **kwargs)
            # One connection is kept for reading: no transaction is open on it between two statements, so it always
            # sees what was last committed, and taking one from the pool would cost more than most statements do.
            return work(self._reading(), *args, **kwargs)

    def _read_snapshot(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _engine_errors(), self._snapshots.connect() as connection, connection.begin():
            return work(connection, *args, **kwargs)

    def write_now(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what `write` does, for callers without an event loop."""
        return self._write_since(time.monotonic(), work, *args, **kwargs)

    def _write_since(
        self, asked: float, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return self._timed("write", partial(self._write, asked, work, *args, **kwargs))

    def _timed(self, operation: str, call: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return call()
        finally:
            if self.observe is not None:
                self.observe(operation, time.perf_counter() - began)

    def _write(
        self, asked: float, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        try:
            with _engine_errors(), self._writer.connect() as connection:
                if self.embedded:
                    sqlite.wait_from(connection, asked)
                with connection.begin():
                    return work(connection, *args, **kwargs)
        finally:
            # Before anybody is told that it is done; a reader between the commit and this is as one before the write.
            self._writes += 1

    def version(self) -> tuple[int, int] | None:
        """Return what stays equal as long as nothing is written, by whomever; None if that can't be told for free."""
        if not self.embedded:
            return None
        if sqlite.is_private(self.url):
            return self._writes, 0
        driver = self._reading().connection.driver_connection
        assert driver is not None  # noqa: S101  (the connection is open)
        return self._writes, driver.execute("PRAGMA data_version").fetchone()[0]

    def prepare(self) -> None:
        """Make the schema of an empty embedded database, and bring one from an older version up to date.

        A fresh schema is made from the models, without importing Alembic, which would double the start-up time.

        Raises:
            SchemaOutdated: a PostgreSQL database is not up to date; its owner decides when to migrate it.
            StoreUnavailable: the database can't be reached.
        """
        revision = self.read_now(schema_revision)
        if revision == SCHEMA_REVISION:
            return
        if not self.embedded:
            raise SchemaOutdated(
                "the database has no schema yet" if revision is None else f"the schema is at {revision}"
            )
        if revision is None:
            self.write_now(_create_schema)
        else:
            from cstar_mock.migrate import upgrade  # noqa: PLC0415  (Alembic is slow to import)

            upgrade(self)

    def _reading(self) -> Connection:
        if self._reader is None:
            self._reader = self.engine.connect()
        return self._reader

    def close(self) -> None:
        """Close all connections, also those that work still waits on: a process can't end before its threads."""
        self._closing.set()
        for threads in self._threads.values():
            # SQLite interrupts its work, and a connection in use can't be closed; PostgreSQL's is closed below it.
            threads.shutdown(wait=self.embedded, cancel_futures=True)
        self._threads.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.engine.dispose()
        for driver in list(self._connections):
            if not driver.closed:
                with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as wire:
                    wire.shutdown(socket.SHUT_RDWR)
        self._closing.clear()


class Prepared:
    """A statement that is put into words once for each kind of engine, not anew for each request.

    Its rows come as the driver gives them: for text and whole numbers only.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[Dialect, tuple[str, dict[str, Any]]] = {}

    def execute(self, connection: Connection, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Return all rows of the statement with these parameters."""
        text_, constants = self._texts.get(connection.dialect) or self._put_into_words(connection.dialect)
        values = {**constants, **parameters}
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite3.Connection) and not connection.engine.dispatch.before_cursor_execute:
            # Nobody watches the statements, and SQLAlchemy would take half as long as SQLite does.
            with suppress(sqlite3.Error):  # which SQLAlchemy then says in its own words
                return driver.execute(text_, values).fetchall()
        return connection.exec_driver_sql(text_, values).fetchall()

    def _put_into_words(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        compiled = self._statement.compile(dialect=dialect)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._texts[dialect] = str(compiled), constants
        return self._texts[dialect]


def schema_revision(connection: Connection) -> str | None:
    """Return the migration that the schema is at, or None if there is no schema."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _create_schema(connection: Connection) -> None:
    Base.metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": SCHEMA_REVISION})


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Tell an engine that can't be reached from a statement that is wrong."""
    try:
        yield
    except SQLAlchemyError as error:
        if _is_unreachable(error):
            raise StoreUnavailable from error
        raise


def _is_unreachable(error: BaseException) -> bool:
    return isinstance(error, _UNREACHABLE) or (
        isinstance(error, DatabaseError)
        and (error.connection_invalidated or getattr(error.orig, "sqlite_errorname", None) in _NO_DATABASE)
    )


def _connect_args(limits: Limits, options: str) -> dict[str, Any]:
    """Return what every new connection to PostgreSQL is opened with."""
    arguments: dict[str, Any] = {"connect_timeout": limits.connect_timeout}
    if limits.statement_timeout is not None:
        milliseconds = round(limits.statement_timeout * 1000)
        # The server ends a statement that takes too long; a server that has vanished can't, and the kernel gives up.
        arguments |= {
            "options": f"{options} -c statement_timeout={milliseconds}".strip(),
            "keepalives_idle": max(1, milliseconds // 2000),
            "keepalives_interval": 1,
            "tcp_user_timeout": milliseconds,
        }
    return arguments


def _connect_impatiently(
    statement_timeout: float, _dialect: object, _record: object, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Open a connection that gives up an engine which says nothing, and is closed then.

    A server that is frozen, but whose machine still acknowledges what it is sent, never fails by itself: neither its
    own time-out nor the kernel's ends the waiting. Whether what it was sent is done, a COMMIT above all, is not known.
    """
    import psycopg  # noqa: PLC0415  (an extra)

    most_seconds = statement_timeout + _GRACE_SECONDS

    class Impatient(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            deadline = time.monotonic() + most_seconds
            try:
                return super().wait(gen, interval, most_seconds if timeout is None else timeout)
            except psycopg.OperationalError:
                if timeout is None and time.monotonic() >= deadline:
                    # Late answers would be taken for those of the next statement.
                    self.close()
                raise

    return Impatient.connect(*arguments, **options)


def _refuse_if_closed(driver: Any, _record: object, _proxy: object) -> None:
    # An idle connection has nothing to read, unless the server has said goodbye or is gone. Asking the kernel costs no
    # round trip, as a ping before each use would; one that is found closed takes all older ones along.
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError
