"""The meaning of an engine's error for the request: try again, 409, or 503 with a sentence for the log.

PostgreSQL names its errors by SQLSTATE, whose first two characters are a class; SQLite by extended result codes,
whose names begin with the primary code. The longest prefix that is listed decides.
"""

from collections.abc import Mapping

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from cstar_mock.contract.errors import StoreUnavailable


class StoreConflict(Exception):
    """A write contradicts a constraint, or another client's write."""


_CONFLICTS = (IntegrityError, DataError)
_OUTAGES = (OperationalError, InterfaceError, PoolTimeoutError)

# Each leaves nothing behind, and succeeds or fails for a better reason when the transaction is run again: a unique
# violation means that another client created the same thing a moment ago, which the work finds when it looks again.
_TRANSIENT = frozenset(("40001", "40P01", "23505"))

_PROBLEMS: Mapping[str, str] = {
    "08": "can't be reached",
    "0A000": "was migrated while the server ran: restart the server",
    "22P05": "has an encoding that lacks a character: create the database with ENCODING 'UTF8'",
    "25006": "is read-only (a standby, or default_transaction_read_only)",
    "26000": "is behind a pooler that loses prepared statements: add ?prepare_threshold=none to its URL",
    "28": "refuses the login",
    "3D000": "does not exist",
    "3F000": "has no such schema: check search_path",
    "40": "had too many conflicting transactions at once",
    "42501": "refuses the access: the role lacks a privilege",
    "42703": "lacks a column: run `cstar-mock db upgrade`",
    "42P01": "lacks a table: run `cstar-mock db upgrade`",
    "42P05": "is behind a pooler that mixes up prepared statements: add ?prepare_threshold=none to its URL",
    "53": "is short of resources",
    "53100": "has no disk space left",
    "53200": "has no memory left",
    "53300": "has too many connections",
    "54": "has reached a limit",
    "55": "is not in a state to do this",
    "55P03": "is locked by another client",
    "57": "was interrupted by an operator",
    "57014": "took too long, or was cancelled",
    "57P": "is shutting down or starting",
    "58": "has a fault of its system",
    "F0": "has a fault of its configuration",
    "XX": "has an internal fault",
    "SQLITE_BUSY": "is locked by another process",
    "SQLITE_CANTOPEN": "can't be opened",
    "SQLITE_CORRUPT": "is damaged",
    "SQLITE_FULL": "has no disk space left",
    "SQLITE_IOERR": "can't be read or written",
    "SQLITE_LOCKED": "is locked by another connection",
    "SQLITE_NOMEM": "has no memory left",
    "SQLITE_NOTADB": "is not a SQLite database",
    "SQLITE_PERM": "refuses the access",
    "SQLITE_PROTOCOL": "is locked by another process",
    "SQLITE_READONLY": "is read-only",
    "SQLITE_READONLY_DBMOVED": "was deleted or replaced while the server ran: restart the server",
}


def is_transient(error: SQLAlchemyError) -> bool:
    """Whether the same transaction may succeed if it is run again."""
    return _code(error) in _TRANSIENT


def translated(error: Exception) -> Exception | None:
    """Return the meaning of an error of SQLAlchemy or of the driver, or None for a bug."""
    problem = _problem(_code(error))
    if problem is not None:
        return StoreUnavailable(problem)
    if isinstance(error, _CONFLICTS):
        return StoreConflict(f"the store refuses it: {error.orig}".strip().splitlines()[0])
    if isinstance(error, _OUTAGES) or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return StoreUnavailable()
    return None


def _code(error: Exception) -> str:
    driver_error = getattr(error, "orig", error)
    return getattr(driver_error, "sqlstate", None) or getattr(driver_error, "sqlite_errorname", None) or ""


def _problem(code: str) -> str | None:
    known = [prefix for prefix in _PROBLEMS if code.startswith(prefix)]
    return _PROBLEMS[max(known, key=len)] if known else None
