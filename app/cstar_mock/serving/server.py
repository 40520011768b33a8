"""One running server: from the settings to the ready file, and the shutdown."""

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from pydantic import SecretStr

from cstar_mock import VERSION
from cstar_mock.application import create_app
from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.control.guard import is_loopback
from cstar_mock.observability import logs
from cstar_mock.ready_file import ReadyFile
from cstar_mock.serving import uvicorn_server, workers
from cstar_mock.serving.listener import listen, url_of
from cstar_mock.settings import Settings
from cstar_mock.state import create_state
from cstar_mock.store import migrations
from cstar_mock.store.database import Database, Limits
from cstar_mock.teams.lifecycle import LoadedTeam
from cstar_mock.teams.load import load_datasets
from cstar_mock.teams.teams import list_ as list_teams

_UNAUTHORIZED_LIMIT = 100
_RETRY_SECONDS = 0.2
_log = logging.getLogger("cstar_mock.server")


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announcement of a server that answers requests.

    Attributes:
        url: where it really is.
        teams: the teams of its data sets.
        control_token: what the control API asks for; None on a loopback address.
        control: whether there is a control API.
        is_token_set: whether the operator knows the token already, as it was set and not made.
        present: the slugs of the teams in the database, if no data set was loaded.
    """

    url: str
    teams: Sequence[LoadedTeam]
    control_token: SecretStr | None
    control: bool
    is_token_set: bool = False
    present: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the content of the ready file."""
        token = self.control_token.get_secret_value() if self.control and self.control_token else None
        return {
            "version": VERSION,
            "pid": os.getpid(),
            "url": self.url,
            "admin_url": f"{self.url}/__admin" if self.control else None,
            "admin_token": token,
            "teams": [
                {"id": team.id, "slug": team.slug, "dataset": team.dataset, "keys": team.keys} for team in self.teams
            ],
            "magic_keys": {name: key for team in self.teams for name, key in team.magic_keys.items()},
        }


def serve(settings: Settings, announce: Callable[[Announcement], None]) -> None:
    """Load the data sets, serve until SIGTERM or SIGINT, and leave nothing behind.

    Args:
        settings: the choices to serve by.
        announce: called once requests are answered.

    Raises:
        CannotListen: the port is taken, or the host is not an address of this machine.
        DatasetError: a data set can't be loaded.
        SchemaOutdated: the database needs `cstar-mock db upgrade`.
        StateUnavailable: the shared state can't be reached.
        StoreUnavailable: the database could not be reached for `startup_timeout` seconds.
    """
    logs.configure(settings.log_format, settings.log_level)
    uvicorn_server.warn_if_unknown()
    signal.signal(signal.SIGTERM, _end_before_serving)
    ready_file = ReadyFile(settings.ready_file) if settings.ready_file is not None else None
    if ready_file is not None:
        ready_file.remove_stale()
    is_token_set = settings.control_token is not None
    if not is_loopback(settings.host):
        settings = _guarded(settings)
    listener = listen(settings.host, settings.port)
    # Loading has no time-out for a statement; requests do.
    database = Database(settings.database, Limits(connect_timeout=settings.database_connect_timeout))
    try:
        _prepare(database, settings.startup_timeout)
        if settings.state is not None:
            asyncio.run(create_state(settings).check())
        teams = load_datasets(database, settings.datasets)
        announcement = Announcement(
            url_of(settings.host, listener),
            teams,
            settings.control_token,
            control=settings.control,
            is_token_set=is_token_set,
            present=() if teams else [team.slug for team in database.read_now(list_teams)],
        )

        def ready() -> None:
            if ready_file is not None:
                ready_file.write(announcement.as_json())
            announce(announcement)

        if not database.embedded or settings.workers > 1:
            database.close()
        if settings.workers == 1:
            app = create_app(settings, database if database.embedded else None)
            uvicorn_server.run(app, settings, listener, ready)
        else:
            workers.serve(settings, listener, announcement.url, ready)
    finally:
        listener.close()
        database.close()
        if ready_file is not None:
            ready_file.remove()


def _end_before_serving(number: int, _frame: FrameType | None) -> None:
    """End at a signal that comes before uvicorn takes signals: as process 1 of a container we would not hear it."""
    raise SystemExit(128 + number)


def _guarded(settings: Settings) -> Settings:
    """Return the settings with the defaults for an address that others can reach."""
    update: dict[str, Any] = {}
    if settings.control_token is None:
        update["control_token"] = SecretStr(secrets.token_urlsafe(24))
    if settings.unauthorized_limit is None:
        update["unauthorized_limit"] = _UNAUTHORIZED_LIMIT
    return settings.model_copy(update=update)


def _prepare(database: Database, seconds: float) -> None:
    """Wait for a database server that is still starting; a file is there or not."""
    deadline = time.monotonic() + (0 if database.embedded else seconds)
    waiting = False
    while True:
        try:
            return migrations.prepare(database)
        except StoreUnavailable as error:
            if time.monotonic() >= deadline:
                raise
            if not waiting:
                reason = str(getattr(error.__cause__, "orig", "")).strip().splitlines() or ["no answer"]
                _log.warning("waiting up to %g s for the database: %s", seconds, reason[0])
                waiting = True
            time.sleep(_RETRY_SECONDS)
