"""One running server: the socket, the workers, the ready file, the way out."""

import asyncio
import contextlib
import ctypes
import gc
import inspect
import logging
import os
import secrets
import select
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from pydantic import SecretStr
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess, multiprocess

from cstar_mock import VERSION
from cstar_mock.application import create_app
from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.control.guard import is_loopback
from cstar_mock.http.extensions import DRAINING
from cstar_mock.observability import logs
from cstar_mock.ready_file import ReadyFile
from cstar_mock.serving.replay_connection import ReplayProtocol
from cstar_mock.serving.server_process import end_with_parent
from cstar_mock.settings import ENV_PREFIX, TOKENS, Settings
from cstar_mock.state import create_state
from cstar_mock.store import migrations
from cstar_mock.store.database import Database, Limits
from cstar_mock.teams.lifecycle import LoadedTeam
from cstar_mock.teams.load import load_datasets
from cstar_mock.teams.teams import list_ as list_teams

GRACE_SECONDS = 4
"""How long requests in flight have to end after SIGTERM; the whole way out takes at most five seconds."""

_LAST_ANSWERS_SECONDS = 0.5
"""How long requests that were cancelled have to be recorded and answered."""

_READY_SECONDS = 60
_UNAUTHORIZED_LIMIT = 100
_RETRY_SECONDS = 0.2
_QUEUE_SECONDS = 1
_HUNG_SECONDS = 30
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_log = logging.getLogger("cstar_mock.serving.server")


class CannotListen(Exception):
    """The address can't be listened on."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What there is to know about a server that answers.

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
        CannotListen: the port is taken, or the host is none of this machine.
        DatasetError: a data set can't be loaded.
        SchemaOutdated: the database needs `cstar-mock db upgrade`.
        StateUnavailable: the shared state can't be reached.
        StoreUnavailable: the database could not be reached for `startup_timeout` seconds.
    """
    logs.configure(settings.log_format, settings.log_level)
    signal.signal(signal.SIGTERM, _end_before_serving)
    ready_file = ReadyFile(settings.ready_file) if settings.ready_file is not None else None
    if ready_file is not None:
        ready_file.remove_stale()
    is_token_set = settings.control_token is not None
    if not is_loopback(settings.host):
        settings = _guarded(settings)
    listener = _listen(settings.host, settings.port)
    # Loading has no time-out for a statement; requests do.
    database = Database(settings.database, Limits(connect_timeout=settings.database_connect_timeout))
    try:
        _prepare(database, settings.startup_timeout)
        if settings.state is not None:
            asyncio.run(create_state(settings).check())
        teams = load_datasets(database, settings.datasets)
        announcement = Announcement(
            _url(settings.host, listener),
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
            _serve_here(settings, database if database.embedded else None, listener, ready)
        else:
            _serve_by_workers(settings, listener, announcement.url, ready)
    finally:
        listener.close()
        database.close()
        if ready_file is not None:
            ready_file.remove()


def _end_before_serving(number: int, _frame: FrameType | None) -> None:
    """End at a signal that comes before uvicorn takes signals: as process 1 of a container we would not hear it."""
    raise SystemExit(128 + number)


def _guarded(settings: Settings) -> Settings:
    """Return the settings with what is chosen by itself where strangers can come."""
    update: dict[str, Any] = {}
    if settings.control_token is None:
        update["control_token"] = SecretStr(secrets.token_urlsafe(24))
    if settings.unauthorized_limit is None:
        update["unauthorized_limit"] = _UNAUTHORIZED_LIMIT
    return settings.model_copy(update=update)


def _prepare(database: Database, seconds: float) -> None:
    """Wait for a database that can't be reached yet, as it starts at the same time as we do; a file never does."""
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


class _Server(uvicorn.Server):
    """uvicorn's server, with a word when it has started, and without dying of the signal that ends it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            _let_in(listener)
        await super().startup(sockets)
        # What is there now stays: collecting garbage need not look through it again and again.
        gc.collect()
        gc.freeze()
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Closing a listener resets the connections that the kernel has accepted and we have not: so first nobody new is
        # let in, then the queue is emptied.
        self.lifespan.state[DRAINING] = True
        for listener in sockets or ():
            _keep_out(listener)
            deadline = time.monotonic() + _QUEUE_SECONDS
            while _has_waiting(listener) and time.monotonic() < deadline:  # noqa: ASYNC110  (the queue is the kernel's)
                await asyncio.sleep(0.005)
        # uvicorn would close the application right after it cancels requests: they could not be recorded any more.
        cancelling = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._cancel_requests)
        try:
            await super().shutdown(sockets)
        finally:
            cancelling.cancel()

    def _cancel_requests(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()

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


def _keep_out(listener: socket.socket) -> None:
    """Let the kernel drop whoever would connect, without closing what is connected already (Linux)."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # a packet filter of one instruction: return 0
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop)))


def _let_in(listener: socket.socket) -> None:
    """Undo `_keep_out`, in case a worker was ended alone: the others listen on the same socket."""
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _has_waiting(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def _serve_here(
    settings: Settings, database: Database | None, listener: socket.socket, ready: Callable[[], None]
) -> None:
    config = _config(create_app(settings, database), settings)
    _Server(config, ready).run([listener])


class _Worker(multiprocess.Process):
    """A worker that ends as gracefully as a server alone, and may take its time to start on a busy machine."""

    _asked: float | None = None

    def is_alive(self, timeout: float = 5) -> bool:  # noqa: ARG002  (uvicorn's own waits, and sees no signal then)
        """Whether the worker runs, and has answered within half a minute."""
        if not self.process.is_alive():
            return False
        try:
            if self._asked is None:
                self.parent_conn.send(b"ping")
                self._asked = time.monotonic()
            elif self.parent_conn.poll(0):
                self.parent_conn.recv()
                self._asked = None
        except (OSError, EOFError):
            return False
        return self._asked is None or time.monotonic() - self._asked < _HUNG_SECONDS

    @property
    def server(self) -> uvicorn.Server:
        if self._server is None:
            self._server = _Server(self.config, ready=lambda: None)
        return self._server


class _Supervisor(Multiprocess):
    """uvicorn's supervisor, which ends all workers at the same time and never one alone."""

    handle_hup = handle_ttin = handle_ttou = None  # type: ignore[assignment]  # as if it had none

    def terminate_all(self) -> None:
        for listener in self.sockets:
            _keep_out(listener)
        super().terminate_all()


def _supervisor(config: uvicorn.Config, listener: socket.socket) -> _Supervisor:
    """Return the supervisor. uvicorn made no worker's server in older releases, but was told what a worker runs."""
    arguments: dict[str, Any] = {"sockets": [listener]}
    if "target" in inspect.signature(Multiprocess).parameters:
        arguments["target"] = partial(_run_worker, config)
    return _Supervisor(config, **arguments)


def _run_worker(config: uvicorn.Config, sockets: list[socket.socket]) -> None:
    _Server(config, ready=lambda: None).run(sockets)


def _serve_by_workers(settings: Settings, listener: socket.socket, url: str, ready: Callable[[], None]) -> None:
    # Workers are fresh processes: they read the settings from the environment. The files of tokens have been read.
    files_of_tokens = {f"{name}_file" for name in TOKENS}
    for name in files_of_tokens:
        os.environ.pop(ENV_PREFIX + name.upper(), None)
    # Python puts the working directory first on the path of a process that is started as multiprocessing does.
    os.environ["PYTHONSAFEPATH"] = "1"
    for name, value in settings.model_dump(
        mode="json", exclude_none=True, exclude={"dataset", *files_of_tokens}
    ).items():
        secret = getattr(settings, name)
        os.environ[ENV_PREFIX + name.upper()] = (
            secret.get_secret_value() if isinstance(secret, SecretStr) else str(value)
        )
    config = _config("cstar_mock.serving.server:create_worker_app", settings)
    multiprocess.Process = _Worker  # type: ignore[misc]  # Multiprocess leaves no other way to choose it
    with tempfile.TemporaryDirectory(prefix="cstar-mock-metrics-") as folder:
        # The library for metrics reads it; an older one from outside would have the numbers of another run.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        supervisor = _supervisor(config, listener)
        threading.Thread(target=_wait_until_ready, args=(url, ready), daemon=True).start()
        supervisor.run()


def create_worker_app() -> ASGIApp:
    """Return the application of one worker process, which sets up its own logging and ends with its supervisor."""
    end_with_parent()
    settings = Settings()
    logs.configure(settings.log_format, settings.log_level)
    return create_app(settings)


def _config(app: ASGIApp | str, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=settings.workers,
        limit_concurrency=settings.max_connections,
        # Kept a second longer than the answers say, so that a client that trusts them never meets a closed connection.
        timeout_keep_alive=settings.keep_alive + 1,
        headers=[("keep-alive", f"timeout={settings.keep_alive}")],
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS + _LAST_ANSWERS_SECONDS,  # type: ignore[arg-type]  # any number will do
        ws="none",
        http=ReplayProtocol,
        forwarded_allow_ips=settings.forwarded_allow_ips,
    )


def _wait_until_ready(url: str, ready: Callable[[], None]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if _is_ready(url):
            ready()
            return
        time.sleep(0.05)
    _log.error("the workers did not answer within a minute")
    os.kill(os.getpid(), signal.SIGTERM)


def _is_ready(url: str) -> bool:
    # Not urllib.request: it would ask a proxy of the environment for our own server.
    connection = HTTPConnection(urlsplit(url).netloc, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


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
