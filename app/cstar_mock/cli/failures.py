"""Failures that a user can fix, reported in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Turn the failures that a user can fix into one line on standard error and the exit code 1."""
    try:
        yield
    except (click.ClickException, BrokenPipeError):
        raise
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        raise click.ClickException(sentence) from None


_EXTRAS = {
    "psycopg": "PostgreSQL needs the extra: pip install 'cstar-mock[postgresql]'",
    "valkey": "a state in Valkey needs the extra: pip install 'cstar-mock[valkey]'",
}


def _sentence(error: Exception) -> str | None:
    """Return the message for a user about an error, or None if it is a bug."""
    from cstar_mock.contract.errors import StateUnavailable, StoreUnavailable, UnknownName
    from cstar_mock.serving.listener import CannotListen
    from cstar_mock.serving.server_process import NotStarted
    from cstar_mock.store.engine_errors import StoreConflict
    from cstar_mock.store.migrations import SchemaOutdated

    if isinstance(error, SchemaOutdated):
        return f"{error}: run `cstar-mock db upgrade`"
    if isinstance(error, StoreUnavailable):
        return f"the database {error.problem}: {error.reason}"
    if isinstance(error, StateUnavailable):
        return f"{error.sentence}: {error.reason}"
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _EXTRAS[error.name]
    if isinstance(error, ValueError | OSError | CannotListen | NotStarted | StoreConflict | UnknownName):
        return str(error)
    return None
