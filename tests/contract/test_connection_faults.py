"""Connection faults on a real socket: each is seen as the network error that it is, and the server is unharmed."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from tests.conftest import Server, running

RESET, EMPTY = "CONNECTION_RESET_BY_PEER", "EMPTY_RESPONSE"
MALFORMED, RANDOM = "MALFORMED_RESPONSE_CHUNK", "RANDOM_DATA_THEN_CLOSE"
FAULTS = (RESET, EMPTY, MALFORMED, RANDOM)
NODE = shutil.which("node")

# What Node says: by `fetch`, as the cause of its TypeError, and by `node:http`, as the error's code.
BY_FETCH = {
    RESET: {"ECONNRESET"},
    EMPTY: {"UND_ERR_SOCKET"},
    MALFORMED: {"HPE_INVALID_CHUNK_SIZE", "UND_ERR_SOCKET"},
    RANDOM: {"HPE_INVALID_CONSTANT"},
}
BY_HTTP = {
    RESET: {"ECONNRESET"},
    EMPTY: {"ECONNRESET"},  # "socket hang up"
    MALFORMED: {"HPE_INVALID_CHUNK_SIZE"},
    RANDOM: {"HPE_INVALID_CONSTANT"},
}
SCRIPT = """
const http = require("node:http");
const [url, key] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${key}` };
const codes = (error) => error ? [error.code, error.name, ...codes(error.cause)].filter(Boolean) : [];
const byFetch = async () => {
  try { return await (await fetch(url, { headers })).json(); } catch (error) { return codes(error); }
};
const byHttp = () => new Promise((resolve) => {
  const told = (error) => resolve(codes(error));
  http.get(url, { headers, agent: false }, (response) => {
    let body = "";
    response.on("error", told);
    response.on("data", (data) => { body += data; });
    response.on("end", () => resolve(JSON.parse(body)));
  }).on("error", told);
});
(async () => {
  console.log(JSON.stringify([await byFetch(), await byHttp(), await byFetch()]));
})();
"""


@pytest.fixture(scope="module", name="faulty")
def _server(tmp_path_factory: pytest.TempPathFactory, coverage_of_processes: str | None) -> Iterator[Server]:
    coverage = coverage_of_processes or ""  # without it, the variable does nothing
    with running(tmp_path_factory.mktemp("faulty"), "--no-rate-limits", COVERAGE_PROCESS_CONFIG=coverage) as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.log.read_text()
        assert "ERROR" not in server.log.read_text()


@dataclass
class Team:
    """A team on the real server."""

    admin: str
    overview: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the client's header."""
        return {"Authorization": f"Bearer {self.key}"}

    def faults(self, *rules: dict[str, Any]) -> None:
        """Set the team's rules."""
        httpx2.put(f"{self.admin}/faults", json=list(rules)).raise_for_status()

    def journal(self) -> list[dict[str, Any]]:
        """Return the team's requests, the newest first."""
        requests: list[dict[str, Any]] = httpx2.get(f"{self.admin}/requests").json()["requests"]
        return requests

    def is_unharmed(self) -> None:
        """Assert that the next requests, on new and on kept connections, are answered."""
        with httpx2.Client(headers=self.headers) as client:
            for _ in range(3):
                assert client.get(self.overview).json()["success"] is True


@pytest.fixture(name="team")
def _team(faulty: Server) -> Team:
    created = httpx2.post(f"{faulty.url}/__admin/teams", json={}).raise_for_status().json()
    return Team(
        f"{faulty.url}/__admin/teams/{created['id']}",
        f"{created['url']}/analytics/overview",
        created["keys"]["sk_test"],
    )


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (RESET, "ReadError", ""),
        (EMPTY, "RemoteProtocolError", "disconnected without sending a response"),
        (MALFORMED, "RemoteProtocolError", "chunk"),
        (RANDOM, "RemoteProtocolError", "illegal|response line|malformed"),
    ],
)
def test_python_clients_see_each_fault_as_what_it_is(
    team: Team, library: Any, fault: str, error: str, message: str
) -> None:
    team.faults({"id": "broken", "fault": fault, "failRequestCount": 2})
    with library.Client(headers=team.headers) as client:
        for _ in range(2):
            with pytest.raises(getattr(library, error), match=rf"(?i){message}"):
                client.get(team.overview)
        assert client.get(team.overview).status_code == 200
    assert [(entry["response"]["status"], entry["response"]["fault"]) for entry in team.journal()] == [
        (200, None), (0, "broken"), (0, "broken"),
    ]  # fmt: skip
    team.is_unharmed()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_that_was_good_before_is_broken_as_well(team: Team, fault: str) -> None:
    team.faults({"fault": fault, "succeedFirst": 2, "failRequestCount": 1})
    with httpx2.Client(headers=team.headers) as client:
        assert [client.get(team.overview).status_code for _ in range(2)] == [200, 200]
        with pytest.raises(httpx2.TransportError):
            client.get(team.overview)
        assert client.get(team.overview).status_code == 200


@pytest.mark.parametrize("fault", FAULTS)
def test_node_sees_each_fault_as_what_it_is(team: Team, fault: str, tmp_path: Path) -> None:
    if NODE is None:
        print("\n*** NODE IS ABSENT: what it sees of connection faults is NOT tested ***", file=sys.stderr)  # noqa: T201
        pytest.skip("node is absent")
    script = tmp_path / "client.js"
    script.write_text(SCRIPT)
    team.faults({"fault": fault, "failRequestCount": 2})
    finished = subprocess.run(
        [NODE, str(script), team.overview, team.key], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    by_fetch, by_http, after = json.loads(finished.stdout)
    assert "TypeError" in by_fetch
    assert BY_FETCH[fault] & set(by_fetch), by_fetch
    assert BY_HTTP[fault] & set(by_http), by_http
    assert after["success"] is True
    team.is_unharmed()


def test_a_fault_can_come_late(team: Team) -> None:
    team.faults({"fault": EMPTY, "delay": {"type": "fixed", "milliseconds": 200}, "failRequestCount": 1})
    with httpx2.Client(headers=team.headers) as client, pytest.raises(httpx2.RemoteProtocolError):
        client.get(team.overview)
    team.is_unharmed()


def test_many_broken_connections_at_once_harm_nobody_else(team: Team, faulty: Server) -> None:
    other = httpx2.post(f"{faulty.url}/__admin/teams", json={}).json()
    team.faults(*({"fault": fault, "failRequestCount": 25} for fault in FAULTS))
    broken: list[type[Exception]] = []
    fine: list[int] = []

    def break_off() -> None:
        with httpx2.Client(headers=team.headers) as client:
            for _ in range(10):
                try:
                    client.get(team.overview)
                except httpx2.TransportError as error:
                    broken.append(type(error))

    def go_on() -> None:
        headers = {"Authorization": f"Bearer {other['keys']['sk_test']}"}
        with httpx2.Client(headers=headers) as client:
            fine.extend(client.get(f"{other['url']}/analytics/overview").status_code for _ in range(30))

    jobs: list[Callable[[], None]] = [break_off] * 10 + [go_on] * 5
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(broken) == 100
    assert fine == [200] * 150
    team.is_unharmed()


def test_a_client_that_pipelines_gets_no_answer_after_the_break(team: Team) -> None:
    """Two requests in one packet: the second one's answer can't come through a broken connection."""
    import socket
    from urllib.parse import urlsplit

    team.faults({"fault": EMPTY, "failRequestCount": 1})
    address = urlsplit(team.overview)
    request = f"GET {address.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {team.key}\r\n\r\n".encode()
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request * 2)
        assert connection.recv(65_536) == b""
    team.is_unharmed()
