"""Connections to PostgreSQL: their parameters and time-outs."""

import select
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import URL
from sqlalchemy.exc import InvalidatePoolError

_GRACE_SECONDS = 1
"""Seconds after the statement's time-out in which the engine has to report it."""

_PREPARE_THRESHOLD = "prepare_threshold"


def split_options(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return the URL with libpq's options alone, and the option of psycopg that it may name, `prepare_threshold`.

    Raises:
        ValueError: an option is neither libpq's nor `prepare_threshold`, or has a value that is not allowed.
    """
    import psycopg  # noqa: PLC0415  (an extra)

    given = url.query.get(_PREPARE_THRESHOLD)
    url = url.difference_update_query([_PREPARE_THRESHOLD])
    for name in url.query:
        try:
            psycopg.conninfo.make_conninfo("", **{name: ""})
        except psycopg.Error:
            hint = "?options=-csearch_path%3DNAME sets a schema" if name == "schema" else "libpq's options are allowed"
            raise ValueError(f"the database URL has an unknown option {name[:100]!r}: {hint}") from None
    return url, {} if given is None else {_PREPARE_THRESHOLD: _threshold(given)}


def _threshold(given: str | Sequence[str]) -> int | None:
    if given == "none":
        return None
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 10:  # noqa: PLR2004
        return int(given)
    raise ValueError(f"the database URL: prepare_threshold={str(given)[:100]!r} is not allowed: use none or a number")


def connect_args(connect_timeout: int, statement_timeout: float | None, options: str) -> dict[str, Any]:
    """Return the parameters of every new connection.

    Args:
        connect_timeout: seconds to wait for it.
        statement_timeout: seconds that a statement may take; None for any time.
        options: the server's own options, from the URL.
    """
    arguments: dict[str, Any] = {"connect_timeout": connect_timeout}
    if statement_timeout is not None:
        milliseconds = round(statement_timeout * 1000)
        # The server ends a statement that takes too long; a server that has vanished can't, and the kernel gives up.
        arguments |= {
            "options": f"{options} -c statement_timeout={milliseconds}".strip(),
            "keepalives_idle": max(1, milliseconds // 2000),
            "keepalives_interval": 1,
            "tcp_user_timeout": milliseconds,
        }
    return arguments


def connect_impatiently(
    statement_timeout: float, _dialect: object, _record: object, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Open a connection that closes if the engine does not answer in time.

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


def prepare_nothing_behind_a_pooler(driver: Any, _record: object) -> None:
    """Stop a new connection from preparing statements if a pooler may hand each transaction to another server process.

    A statement is prepared in one process; in another one its name is unknown, or another client's. A pooler reports
    an invented process id to its clients.
    """
    driver.autocommit = True  # else the question would begin a transaction
    process = driver.execute("SELECT pg_backend_pid()").fetchone()[0]
    driver.autocommit = False
    if process != driver.info.backend_pid:
        driver.prepare_threshold = None


def refuse_if_closed(driver: Any, _record: object, _proxy: object) -> None:
    """Refuse to use an idle connection that the server has closed.

    It has nothing to read, unless the server has said goodbye or is gone. Asking the kernel costs no round trip, as a
    ping before each use would; one that is found closed takes all older ones along.
    """
    poll = select.poll()
    poll.register(driver.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError
