"""One running server: the socket, the workers, the ready file, the way out."""

import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from cstar_mock import VERSION, logs
from cstar_mock.application import create_app
from cstar_mock.database import Database
from cstar_mock.datasets import format as dataset_format
from cstar_mock.datasets.load import LoadedTeam, load
from cstar_mock.http.protocol import Protocol
from cstar_mock.settings import ENV_PREFIX, Settings

GRACE_SECONDS = 4
"""How long requests in flight have to end after SIGTERM; the whole way out takes at most five seconds."""

_READY_SECONDS = 60


class CannotListen(Exception):
    """The address can't be listened on."""


def serve(settings: Settings, announce: Callable[[str, Sequence[LoadedTeam]], None]) -> None:
    """Load the data sets, serve until SIGTERM or SIGINT, and leave nothing behind.

    Args:
        settings: the choices to serve by.
        announce: called with the real URL and the teams once requests are answered.

    Raises:
        CannotListen: the port is taken, or the host is none of this machine.
        DatasetError: a data set can't be loaded.
        SchemaOutdated: the database needs `cstar-mock db upgrade`.
        StoreUnavailable: the database can't be reached.
    """
    logs.configure(settings.log_format, settings.log_level)
    database = Database(settings.database)
    database.prepare()
    teams = load_datasets(database, settings.datasets)
    listener = _listen(settings.host, settings.port)
    url = _url(settings.host, listener)

    def ready() -> None:
        if settings.ready_file is not None:
            write_ready_file(settings.ready_file, url, teams)
        announce(url, teams)

    try:
        if settings.workers == 1:
            _serve_here(settings, database, listener, ready)
        else:
            database.close()
            _serve_by_workers(settings, listener, url, ready)
    finally:
        listener.close()
        database.close()
        if settings.ready_file is not None:
            settings.ready_file.unlink(missing_ok=True)


def load_datasets(
    database: Database,
    names: Sequence[str],
    *,
    replace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> list[LoadedTeam]:
    """Load data sets by name or path, each whole or not at all.

    Raises:
        DatasetError: naming file, line and field.
        StoreUnavailable: the database can't be reached.
    """
    teams: list[LoadedTeam] = []
    for name in names:
        path = dataset_format.find(name)
        dataset = dataset_format.read(path)
        try:
            teams += database.write_now(load, dataset, replace=replace, progress=progress or (lambda _rows: None))
        except dataset_format.DatasetError as error:
            raise dataset_format.located(error, path) from None
    return teams


def write_ready_file(path: Path, url: str, teams: Sequence[LoadedTeam]) -> None:
    """Write where the server is and who may call it, so that no reader ever sees half of it."""
    content = {
        "version": VERSION,
        "pid": os.getpid(),
        "url": url,
        "teams": [{"id": team.id, "slug": team.slug, "dataset": team.dataset, "keys": team.keys} for team in teams],
    }
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False) as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    Path(file.name).replace(path)


class _Server(uvicorn.Server):
    """uvicorn's server, with a word when it has started, and without dying of the signal that ends it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after a graceful end; we promise the exit code 0.
        handlers = {number: signal.signal(number, self.handle_exit) for number in _ENDING}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


_ENDING = (signal.SIGINT, signal.SIGTERM)


def _serve_here(settings: Settings, database: Database, listener: socket.socket, ready: Callable[[], None]) -> None:
    config = _config(create_app(settings, database))
    _Server(config, ready).run([listener])


def _serve_by_workers(settings: Settings, listener: socket.socket, url: str, ready: Callable[[], None]) -> None:
    # Workers are fresh processes: they read the settings from the environment.
    for name, value in settings.model_dump(mode="json", exclude_none=True, exclude={"dataset"}).items():
        os.environ[ENV_PREFIX + name.upper()] = str(value)
    config = _config("cstar_mock.server:create_worker_app", workers=settings.workers)
    supervisor = Multiprocess(config, [listener])
    threading.Thread(target=_wait_until_ready, args=(url, ready), daemon=True).start()
    supervisor.run()


def create_worker_app() -> ASGIApp:
    """Return the application of one worker process, which sets up its own logging."""
    settings = Settings()
    logs.configure(settings.log_format, settings.log_level)
    return create_app(settings)


def _config(app: ASGIApp | str, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ws="none",
        http=Protocol,
    )


def _wait_until_ready(url: str, ready: Callable[[], None]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=1) as response:  # noqa: S310
            if response.status == HTTPStatus.OK:
                ready()
                return
        time.sleep(0.05)
    sys.stderr.write("cstar-mock: the workers did not answer within a minute\n")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.set_inheritable(True)
    except OSError as error:
        raise CannotListen(f"can't listen on {host}:{port}: {error.strerror or error}") from None
    return listener


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
