"""Many rows in few statements: several times as fast as a statement a row, on both engines."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.exc import DBAPIError

_MANY = 500
"""Row count from which PostgreSQL uses COPY and ANALYZE, and SQLite rebuilds its indexes."""

_LARGE_CACHE_KIB = 256 * 1024
"""KiB of pages that SQLite caches during a large insert: with less, it writes the same pages again and again."""

_MUCH = 10

_MOST_IDS = 500

_MOST_ROWS = 64
"""Rows in one statement: beyond that nothing is gained, and engines limit the number of parameters."""


def insert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    common: Mapping[str, Any],
    conflict: str = "",
) -> None:
    """Insert rows as the driver takes them: text and whole numbers.

    Args:
        connection: the store.
        table: where they go.
        rows: by column names, two columns at least.
        common: the columns that are the same in all rows.
        conflict: what to do about a row that is there already: an `ON CONFLICT` clause.

    Raises:
        DBAPIError: the engine refuses a row, or can't be reached; as for any other statement.
    """
    own = tuple(name for name in table.columns.keys() if name not in common)  # noqa: SIM118  (not a mapping)
    values_of, prefix = itemgetter(*own), tuple(common.values())
    many_for_postgresql = connection.dialect.name == "postgresql" and len(rows) >= _MANY
    if many_for_postgresql and not conflict:
        _copy(connection, table, (*common, *own), (prefix + values_of(row) for row in rows))
    else:
        for some in _chunks(rows):
            statement = _statement(table, (*common, *own), len(some), conflict, connection.dialect)
            parameters: list[Any] = []
            for row in some:
                parameters += prefix
                parameters += values_of(row)
            connection.exec_driver_sql(statement, tuple(parameters))
    if many_for_postgresql:
        _count_for_postgresql(connection, table, len(rows))


def _copy(connection: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows by COPY: twice as fast as statements."""
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    driver_error = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except driver_error as error:
        # SQLAlchemy has no COPY, so we have to translate the error.
        raise DBAPIError.instance(statement, None, error, driver_error, dialect=connection.dialect) from error


def are_many(connection: Connection, tables: Sequence[Table], rows: int) -> bool:
    """Whether a table gets enough new rows that rebuilding its indexes afterwards is cheaper.

    It is on SQLite, once more rows come than there are: to sort all of them once costs a third of finding the place of
    each. On PostgreSQL it would keep everybody from reading meanwhile.
    """
    return connection.dialect.name == "sqlite" and rows >= max(
        _MANY, *(_highest_rowid(connection, table) for table in tables)
    )


@contextmanager
def indexed_at_the_end(connection: Connection, tables: Sequence[Table], *, many: bool) -> Iterator[None]:
    """Drop the tables' indexes for the block and rebuild them at its end; a no-op unless `many`.

    Args:
        connection: the store, in a transaction, which brings the indexes back if it fails.
        tables: where the rows go.
        many: what `are_many` said of them.
    """
    if not many:
        yield
        return
    indexes = [index for table in tables for index in table.indexes]
    cache = connection.exec_driver_sql("PRAGMA cache_size").scalar_one()
    connection.exec_driver_sql(f"PRAGMA cache_size = -{_LARGE_CACHE_KIB}")
    try:
        for index in indexes:
            index.drop(connection, checkfirst=True)
        yield
        for index in indexes:
            index.create(connection)
    finally:
        connection.exec_driver_sql(f"PRAGMA cache_size = {cache}")


def _highest_rowid(connection: Connection, table: Table) -> int:
    """Return at least as many as there are rows, without counting them."""
    highest: int = connection.exec_driver_sql(f"SELECT coalesce(max(rowid), 0) FROM {table.name}").scalar_one()  # noqa: S608
    return highest


def _count_for_postgresql(connection: Connection, table: Table, rows: int) -> None:
    """Let PostgreSQL analyze a table that has grown much.

    Of rows that came within a transaction it knows nothing: it would check each reference to them by reading them all.
    """
    known = connection.exec_driver_sql(
        "SELECT reltuples FROM pg_class WHERE oid = to_regclass(%s)", (table.name,)
    ).scalar_one()
    if known < _MUCH * rows:
        connection.exec_driver_sql(f"ANALYZE {table.name}")


@lru_cache(maxsize=512)
def _statement(table: Table, names: tuple[str, ...], rows: int, conflict: str, dialect: Dialect) -> str:
    placeholder = "%s" if dialect.name == "postgresql" else "?"
    row = f"({', '.join([placeholder] * len(names))})"
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {', '.join([row] * rows)} {conflict}"  # noqa: S608


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the rows in parts of few different lengths, so that each statement is compiled once."""
    start, most = 0, _MOST_ROWS
    while start < len(rows):
        while most > len(rows) - start:
            most //= 2
        yield rows[start : start + most]
        start += most


def id_groups(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ids in groups that one statement can take: both engines limit the number of its parameters."""
    for start in range(0, len(ids), _MOST_IDS):
        yield ids[start : start + _MOST_IDS]
