"""The database: it opens connections, commits, rolls back, and decides which thread work runs in.

Work is a plain function of a connection. On SQLite, a read of a few rows runs on the event loop itself: it takes
microseconds and never waits. Writes run in one thread, one after the other, and reads of any length in two. On
PostgreSQL all work runs in one of as many threads as there are connections. Callers can't tell the difference.
"""

import asyncio
import json
import os
import random
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
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar
from weakref import WeakSet

from sqlalchemy import ClauseElement, Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.store import engine_errors, postgresql, sqlite
from cstar_mock.store.sqlite_file import File

_PAUSES = (0.01, 0.05, 0.2)
"""Seconds before a transaction that met a deadlock, or another client's write, is run again; about half at random."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds for PostgreSQL: connections and waits; SQLite needs none.

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
        self._connections: WeakSet[Any] = WeakSet()
        self._file = File(self.url.database or "") if self.embedded and not sqlite.is_private(self.url) else None
        if self.embedded:
            self.engine = sqlite.create(self.url, self._closing.is_set, self._file)
            self._writer: Engine = self.engine.execution_options(**{sqlite.BEGIN: "BEGIN IMMEDIATE"})
            self._snapshots: Engine = self.engine.execution_options(**{sqlite.BEGIN: "BEGIN"})
        else:
            self.engine = self._postgresql_engine()
            # A read after the team's lock sees what the last writer committed, whatever the database's default is.
            self._writer = self.engine.execution_options(isolation_level="READ COMMITTED")
            self._snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            # Each statement is its own transaction, which saves two of three round trips; on SQLite it is anyway.
            self._committed = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._reader: Connection | None = None
        self._writes = 0

    def _postgresql_engine(self) -> Engine:
        url, options = postgresql.split_options(self.url)
        limits, statement_timeout = self.limits, self.limits.statement_timeout
        server_options = str(url.query.get("options", ""))
        engine = create_engine(
            url,
            pool_size=limits.pool_size,
            max_overflow=0,
            pool_timeout=limits.pool_timeout,
            hide_parameters=True,
            connect_args=options | postgresql.connect_args(limits.connect_timeout, statement_timeout, server_options),
        )
        if statement_timeout is not None:
            event.listen(engine, "do_connect", partial(postgresql.connect_impatiently, statement_timeout))
        if not options:
            event.listen(engine, "connect", postgresql.prepare_nothing_behind_a_pooler)
        event.listen(engine, "connect", lambda driver, _record: self._connections.add(driver))
        event.listen(engine, "checkout", postgresql.refuse_if_closed)
        return engine

    async def read(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that reads a few rows, and return its result.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        if self.embedded:
            return self.read_now(work, *args, **kwargs)
        return await self._in_thread("read", partial(self.read_now, work, *args, **kwargs), self.longest_read())

    async def read_snapshot(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work that reads any number of rows, all as they are at one moment, and return its result.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        call = partial(self._timed, "read", partial(self._read_snapshot, work, *args, **kwargs))
        return await self._in_thread("snapshot", call, self.longest_read())

    async def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in one transaction, committed if it returns and rolled back if it raises.

        Raises:
            StoreConflict: a constraint forbids it.
            StoreUnavailable: the database can't be reached, or refuses the write; on SQLite, another process writes for
                too long.
        """
        asked = time.monotonic()
        return await self._in_thread("write", lambda: self._write_since(asked, work, *args, **kwargs))

    def longest_read(self) -> float | None:
        """Return the most seconds that a read may take, waiting for a connection included; None for any number."""
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
            if self._file is not None:
                self._file.check_now_and_then()
            # One connection is kept for reading: no transaction is open on it between two statements, so it always
            # sees what was last committed, and taking one from the pool would cost more than most statements do.
            return work(self._reading(), *args, **kwargs)

    def _read_snapshot(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._file is not None:
            self._file.check_now_and_then()
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
        pauses = iter(_PAUSES)
        with _engine_errors():
            while True:
                try:
                    return self._write_once(asked, lambda connection: work(connection, *args, **kwargs))
                except SQLAlchemyError as error:
                    pause = next(pauses, None) if engine_errors.is_transient(error) else None
                    if pause is None:
                        raise
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (so that two do not meet again)

    def _write_once(self, asked: float, work: Callable[[Connection], T]) -> T:
        try:
            with self._writer.connect() as connection:
                if self.embedded:
                    sqlite.wait_from(connection, asked)
                with connection.begin():
                    result = work(connection)
                    if self._file is not None:
                        self._file.check()
                    return result
        finally:
            # Before anybody is told that it is done; a reader between the commit and this is as one before the write.
            self._writes += 1

    def version(self) -> tuple[int, int] | None:
        """Return a token that changes with every write by any process, or None where the engine has no cheap one.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        if not self.embedded:
            return None
        if self._file is None:
            return self._writes, 0
        self._file.check_now_and_then()
        try:  # asked for every request: a context manager would cost more than the question
            driver: Any = self._reading().connection.driver_connection
            return self._writes, driver.execute("PRAGMA data_version").fetchone()[0]
        except _ENGINE_ERRORS as error:
            _raise_translated(error)

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
        if self._file is not None:
            self._file.closed()
        for driver in list(self._connections):
            if not driver.closed:
                with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as wire:
                    wire.shutdown(socket.SHUT_RDWR)
        self._closing.clear()


class Prepared:
    """A statement compiled to SQL once for each dialect and reused.

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
            # No listener watches the statements, and SQLAlchemy would take half as long as SQLite does.
            with suppress(sqlite3.Error):  # which SQLAlchemy then says in its own words
                return driver.execute(text_, values).fetchall()
        return connection.exec_driver_sql(text_, values).fetchall()

    def _put_into_words(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        compiled = self._statement.compile(dialect=dialect)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        self._texts[dialect] = str(compiled), constants
        return self._texts[dialect]


# Of a damaged SQLite file, the text of an error message or a value of a row can't be decoded.
_ENGINE_ERRORS = (SQLAlchemyError, sqlite3.Error, UnicodeDecodeError, json.JSONDecodeError)


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Translate the errors of the engine; a wrong statement keeps its own."""
    try:
        yield
    except _ENGINE_ERRORS as error:
        _raise_translated(error)


def _raise_translated(error: Exception) -> NoReturn:
    if isinstance(error, ValueError):
        raise StoreUnavailable("is damaged") from error
    meaning = engine_errors.translated(error)
    if meaning is None:
        raise error
    raise meaning from error
