"""A real process: how it starts, what it tells, what it logs, how it ends."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import create_engine, text
from tests.conftest import COMMAND, Server, cli_runner, free_port, running
from tests.contract.test_bounds import answer

from cstar_mock import VERSION, cli
from cstar_mock.ready_file import NotARegularFile, ReadyFile
from cstar_mock.serving.server import Announcement
from cstar_mock.state.valkey import Engine
from cstar_mock.state.valkey_journal import ValkeyJournal
from cstar_mock.teams.lifecycle import LoadedTeam

SCRIPT = str(Path(sys.executable).with_name("cstar-mock"))
KEY = "sk_live_your_key"
BEARER = {"Authorization": f"Bearer {KEY}"}
ENDING = [signal.SIGTERM, signal.SIGINT]
MOST_SECONDS = 5.0


def run(*arguments: str) -> None:
    """Run another command, as a second person at the same database."""
    result = cli_runner().invoke(cli.cli, arguments)
    assert result.exit_code == 0, result.output


def output(command: list[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command to its end, and return its exit code, stdout and stderr."""
    finished = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    return finished.returncode, finished.stdout, finished.stderr


def announcement(server: Server) -> list[str]:
    """Return the lines that the server has printed, up to the command to paste."""
    assert server.process.stdout is not None
    lines = [server.process.stdout.readline()]
    while "curl" not in lines[-1]:
        lines.append(server.process.stdout.readline())
        assert lines[-1], "stdout ended without a command to paste"
    return lines


def ended(server: Server, number: signal.Signals = signal.SIGTERM) -> int:
    """End a server, and return its exit code, which must come in time."""
    began = time.monotonic()
    code = server.stop(number)
    assert time.monotonic() - began < MOST_SECONDS
    return code


def test_the_ready_file_says_where_the_server_is_and_who_may_call_it(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        assert list(server.ready) == ["version", "pid", "url", "admin_url", "admin_token", "teams", "magic_keys"]
        assert server.ready["admin_url"] == f"{server.url}/__admin"
        assert server.ready["admin_token"] is None
        assert set(server.ready["magic_keys"]) == {
            "expired",
            "revoked",
            "rate-limited",
            "internal-error",
            "slow",
            "other-team",
        }
        assert server.ready["version"] == VERSION
        assert server.ready["pid"] == server.process.pid
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*", server.url)
        team, neighbour = server.ready["teams"]
        assert neighbour["slug"] == "acme-neighbour"
        assert list(team) == ["id", "slug", "dataset", "keys"]
        assert (team["slug"], team["dataset"]) == ("acme", "documented")
        assert team["keys"] == {prefix: f"{prefix}_your_key" for prefix in ("sk_live", "sk_test", "pk_live", "pk_test")}
        assert httpx2.get(server.path("overview"), headers=BEARER).status_code == 200
        assert ended(server) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["server.log"]


def test_the_ready_file_appears_as_a_whole_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """A reader that has the old one open reads the old one to its end, and the new one is another file."""
    path = tmp_path / "ready.json"
    path.write_text("old")
    teams = [LoadedTeam("id-1", "acme", "Acme", "documented", {"sk_live": None}, {}, created=False)]
    file = ReadyFile(path)
    with path.open() as old:
        file.write(Announcement("http://h:1", teams, None, control=True).as_json())
        assert old.read() == "old"
    assert json.loads(path.read_text())["teams"][0]["keys"] == {"sk_live": None}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    file.remove()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_links_that_others_have_put_beside_the_ready_file_are_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    for pid in (os.getpid(), "x"):
        (tmp_path / f".ready.json.{pid}").symlink_to(target)
    ReadyFile(tmp_path / "ready.json").write({})
    assert target.read_text() == "mine"
    assert not (tmp_path / "ready.json").is_symlink()


def test_a_ready_file_of_another_server_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    first, second = ReadyFile(path), ReadyFile(path)
    first.write({})
    second.write({})
    first.remove()
    assert path.exists()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
def test_a_ready_file_that_is_no_regular_file_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ready"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/dev/stdout")
    else:
        path.mkdir()
    code, out, err = output(COMMAND, "serve", "--port", "0", "--ready-file", str(path))
    assert (code, out) == (1, "")
    assert err == (
        f"cstar-mock: --ready-file: '{path}' is not allowed: {path} exists and is no regular file; "
        "give the path of a file that may be replaced\n"
    )
    file = ReadyFile(path)
    for operation in (file.remove_stale, lambda: file.write({})):
        with pytest.raises(NotARegularFile):
            operation()
    assert os.path.lexists(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("traced")
def test_a_token_that_was_set_is_not_printed(tmp_path: Path) -> None:
    """It would be in the log of a container. In the ready file it is for those who may read that."""
    secret = tmp_path / "token"
    secret.write_text("a-control-token\n")
    with running(tmp_path, "--control-token-file", str(secret), "--host", "0.0.0.0") as server:
        url = f"http://127.0.0.1:{server.url.rpartition(':')[2]}/__admin/health"
        assert httpx2.get(url).status_code == 401
        assert httpx2.get(url, headers={"Authorization": "Bearer a-control-token"}).status_code == 200
        printed = "".join(announcement(server))
        assert "/__admin, token as it was set\n" in printed
        assert server.ready["admin_token"] == "a-control-token"
        assert ended(server) == 0
        assert "a-control-token" not in printed + server.log.read_text()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_before_it_serves_ends_it_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """Process 1 of a container gets only signals that it has asked for."""
    log, ready = tmp_path / "log", tmp_path / "ready.json"
    options = ["--database", f"postgresql://127.0.0.1:{free_port()}/x", "--ready-file", str(ready)]
    with log.open("w") as file:
        process = subprocess.Popen([*COMMAND, "serve", "--port", "0", *options], stderr=file, start_new_session=True)
    try:
        _until(lambda: "waiting up to 30 s for the database" in log.read_text())
        process.send_signal(number)
        assert process.wait(MOST_SECONDS) == 128 + number
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
    assert not ready.exists()


@pytest.mark.usefixtures("traced")
def test_a_request_that_takes_longer_than_the_way_out_is_told_so(tmp_path: Path, valkey: str) -> None:
    """The answer and the journal say the same: a 503, and no request stays pending."""
    state = f"{valkey}/0"
    with running(tmp_path, "--state", state) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            head = (
                f"GET /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\nPrefer: wait=30\r\nAuthorization: Bearer {KEY}\r\n\r\n"
            )
            connection.sendall(head.encode())
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            received = b""
            while data := connection.recv(65536):
                received += data
        assert server.process.wait(MOST_SECONDS) == 0
        log = server.log.read_text()
    lines, _, body = received.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nconnection: close" in lines.lower()
    error = json.loads(body)["error"]
    assert error["code"] == "service_unavailable"
    assert f"WARNING cancelled GET /api/v1/auth/whoami request_id={error['request_id']}" in log
    journal = ValkeyJournal(Engine(state, 10), 10)
    entries = asyncio.run(journal.entries(server.ready["teams"][0]["id"]))
    (entry,) = [entry for entry in entries if entry.id == error["request_id"]]
    assert (entry.state, entry.status, entry.code) == ("answered", 503, "service_unavailable")
    assert "Traceback" not in log


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_it_with_0_though_a_connection_is_open(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path) as server, httpx2.Client() as client:
        assert client.get(f"{server.url}/healthz").status_code == 200
        assert ended(server, number) == 0
        assert "Traceback" not in server.log.read_text()
    assert not (tmp_path / "ready.json").exists()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_it_with_0_though_half_a_request_has_come(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(b"GET /api/v1/auth/whoami HTTP/1.1\r\nHost:")
            assert ended(server, number) == 0


@pytest.mark.usefixtures("traced")
def test_a_request_in_flight_is_answered_before_the_end(tmp_path: Path, postgresql: str) -> None:
    """The request waits for a lock in PostgreSQL, which is let go once the server takes no new connection."""
    admin = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    name = f"in_flight_{os.getpid()}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = admin.url.set(database=name)
    engine = create_engine(url)
    try:
        written = url.render_as_string(hide_password=False)
        run("db", "upgrade", "--database", written)
        with running(tmp_path, "--database", written, "--dataset", "documented") as server:
            # Another answer than the one below: a remembered one would not ask for the locked rows.
            assert httpx2.get(server.path("agents"), headers=BEARER).status_code == 200
            with engine.connect() as lock:
                lock.execute(text("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE"))
                with _sent(server, "overview") as connection:
                    _until(lambda: lock.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
                    server.process.send_signal(signal.SIGTERM)
                    _until(lambda: not _listens(server))
                    assert server.process.poll() is None
                    lock.rollback()
                    received = b""
                    while data := connection.recv(65536):
                        received += data
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert json.loads(received.partition(b"\r\n\r\n")[2])["data"]["tickets"]["total"] == 142
            assert server.process.wait(MOST_SECONDS) == 0
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        admin.dispose()


@contextmanager
def _sent(server: Server, path: str) -> Iterator[socket.socket]:
    address = urlsplit(server.path(path))
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        head = f"GET {address.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def _listens(server: Server) -> bool:
    address = urlsplit(server.url)
    with socket.socket() as connection:
        return connection.connect_ex((address.hostname, address.port)) == 0


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def test_the_printed_command_works_when_pasted(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        lines = announcement(server)
        pasted = subprocess.run(["sh", "-c", lines[-1]], capture_output=True, text=True, timeout=30, check=True)
        assert json.loads(pasted.stdout) == {
            "success": True,
            "data": {
                "object": "analytics_overview",
                "period": "week",
                "tickets": {"total": 142, "open": 23, "resolved": 89},
                "customers": {"total": 450, "active": 120, "new": 15},
                "csat": {"average": 4.2, "totalResponses": 67},
            },
        }


def test_the_announcement_names_the_real_port_the_team_and_its_keys(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        lines = announcement(server)
        assert lines[0] == f"cstar-mock {VERSION} serves {server.url} (docs: {server.url}/docs)\n"
        assert urlsplit(server.url).port != 0
        printed = "".join(lines)
        team, neighbour = server.ready["teams"]
        assert neighbour["slug"] == "acme-neighbour"
        assert f"team acme (documented): {team['id']}\n" in printed
        for prefix, key in team["keys"].items():
            assert f"    {prefix}  {key}\n" in printed


def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ready = tmp_path / "ready.json"
        code, out, err = output(COMMAND, "serve", "--port", str(port), "--ready-file", str(ready))
    assert (code, out) == (1, "")
    assert err == f"cstar-mock: can't listen on 127.0.0.1:{port}: Address already in use\n"
    assert not ready.exists()


@pytest.mark.usefixtures("traced")
def test_a_host_of_another_machine_is_one_line_and_exit_code_1() -> None:
    code, out, err = output(COMMAND, "serve", "--port", "0", "--host", "192.0.2.1")
    assert (code, out) == (1, "")
    assert err.startswith("cstar-mock: can't listen on 192.0.2.1:0: ")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("traced")
def test_a_ready_file_in_no_folder_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "ready.json"
    code, out, err = output(COMMAND, "serve", "--port", "0", "--ready-file", str(file))
    assert (code, out) == (1, "")
    assert err == f"cstar-mock: --ready-file: '{file}' is not allowed: there is no folder {file.parent}\n"


def test_workers_end_with_their_supervisor_even_if_it_is_killed(tmp_path: Path, valkey: str) -> None:
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    for name in ("queue", "selectors", "secrets", "limits"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    options = ("--workers", "2", "--database", database, "--state", valkey)
    with running(tmp_path, *options, command=[SCRIPT]) as server:
        pids = workers(server)
        assert len(pids) == 2
        server.process.kill()
        server.process.wait()
        _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        assert not _listens(server)
        # Who finds the file that is left can tell: no such process runs.
        assert server.ready["pid"] == server.process.pid


def workers(server: Server) -> list[int]:
    """Return the process ids of the workers."""
    found = subprocess.run(
        ["pgrep", "-P", str(server.process.pid), "-f", "spawn_main"], capture_output=True, text=True, check=True
    )
    return [int(line) for line in found.stdout.split()]


def test_no_token_is_in_the_environment_of_a_worker(tmp_path: Path, valkey: str) -> None:
    token = "a-token-that-nobody-else-may-read"
    (tmp_path / "token").write_text(token)
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    options = ("--workers", "2", "--database", database, "--state", valkey, "--control-token-file", "token")
    with running(tmp_path, *options) as server:
        for pid in [server.process.pid, *workers(server)]:
            assert token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        teams = f"{server.url}/__admin/teams"
        assert httpx2.get(teams).status_code == 401
        assert httpx2.get(teams, headers={"Authorization": f"Bearer {token}"}).status_code == 200


@contextmanager
def only(worker: int, all_workers: list[int]) -> Iterator[None]:
    """Let no other worker accept a connection in this block."""
    others = [one for one in all_workers if one != worker]
    for other in others:
        os.kill(other, signal.SIGSTOP)
    try:
        yield
    finally:
        for other in others:
            os.kill(other, signal.SIGCONT)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("number", ENDING)
def test_workers_see_each_write_at_the_next_request_and_end_with_0(
    number: signal.Signals, tmp_path: Path, valkey: str
) -> None:
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    options = ("--workers", "2", "--database", database, "--dataset", "documented", "--state", valkey)
    with running(tmp_path, *options) as server:
        pids = workers(server)
        assert len(pids) == 2

        def statuses(path: str) -> list[int]:
            answered = []
            for pid in pids:
                with only(pid, pids):
                    answered.append(httpx2.get(path, headers=BEARER, timeout=4).status_code)
            return answered

        overview = server.path("overview")
        assert statuses(overview) == [200, 200]
        assert statuses(overview) == [200, 200]  # Both remember the key and the answer by now.
        listed = cli_runner().invoke(cli.cli, ["keys", "list", "--database", database]).output
        (key_id,) = [line.split()[0] for line in listed.splitlines() if line.split()[1:3] == ["sk_live_…_key", "acme"]]
        run("keys", "revoke", key_id, "--database", database)
        assert statuses(overview) == [401, 401]
        assert ended(server, number) == 0
        assert "Traceback" not in server.log.read_text()
    assert not (tmp_path / "ready.json").exists()


@pytest.mark.usefixtures("traced")
def test_several_workers_in_memory_are_refused_in_one_line() -> None:
    code, out, err = output(COMMAND, "serve", "--port", "0", "--workers", "2")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "sqlite:///FILE" in err


@pytest.mark.usefixtures("traced")
def test_a_valkey_that_is_not_there_is_one_line_and_exit_code_1_without_its_password() -> None:
    state = f"valkey://:hunter22@127.0.0.1:{free_port()}"
    code, out, err = output(COMMAND, "serve", "--port", "0", "--state", state)
    assert (code, out) == (1, "")
    assert err.startswith("cstar-mock: the shared state can't be reached: ")
    assert err.count("\n") == 1
    assert "hunter22" not in err


def ask_everything(server: Server) -> list[httpx2.Response]:
    """Send a good, a bad and an unknown key, and two health checks."""
    return [
        httpx2.get(server.path("overview"), headers=BEARER),
        httpx2.get(server.path("agents"), headers={"Authorization": "Bearer sk_live_somebody_elses_key"}),
        httpx2.get(f"{server.url}/nothing?key={KEY}", headers=BEARER),
        httpx2.get(f"{server.url}/healthz"),
        httpx2.get(f"{server.url}/readyz"),
    ]


def test_json_log_lines_say_who_asked_what_and_never_a_key(tmp_path: Path) -> None:
    with running(tmp_path, "--log-format", "json") as server:
        responses = ask_everything(server)
        server.stop()
        written = server.log.read_text()
    lines = [json.loads(line) for line in written.splitlines()]
    requests = [line for line in lines if line["logger"] == "cstar_mock.requests"]
    asked = [(response.request.url.path, response.status_code) for response in responses[:3]]
    assert [(line["path"], line["status"]) for line in requests] == asked
    assert [line["request_id"] for line in requests] == [response.headers["X-Request-Id"] for response in responses[:3]]
    assert {line["method"] for line in requests} == {"GET"}
    assert all(0 < line["duration_ms"] < 60_000 for line in requests)
    assert all(line["level"] == "INFO" and line["timestamp"] for line in requests)
    assert (requests[0]["team"], requests[0]["key"]) == ("acme", "…_key")
    assert "key" not in requests[1]
    assert KEY not in written
    assert "sk_live_" not in written


def test_text_log_lines_say_who_asked_what_and_never_a_key(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        responses = ask_everything(server)
        server.stop()
        written = server.log.read_text()
    assert len(written.splitlines()) == 3
    assert re.fullmatch(
        rf"\S+ \S+ INFO    GET {responses[0].request.url.path} 200 "
        rf"request_id={responses[0].headers['X-Request-Id']} duration_ms=\d+\.\d+ team=acme key=…_key",
        written.splitlines()[0],
    )
    assert "sk_live_" not in written


def test_health_checks_are_logged_for_debugging_only(tmp_path: Path) -> None:
    with running(tmp_path, "--log-level", "debug", "--log-format", "json") as server:
        ask_everything(server)
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    levels = {line["path"]: line["level"] for line in lines if line["logger"] == "cstar_mock.requests"}
    assert (levels["/healthz"], levels["/readyz"]) == ("DEBUG", "DEBUG")


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("serve", "--help"), ("serve", "--bogus"), ("nothing",)]
)
def test_the_module_is_the_command(arguments: tuple[str, ...]) -> None:
    assert output(COMMAND, *arguments) == output([SCRIPT], *arguments)


def test_the_command_serves_as_the_module_does(tmp_path: Path) -> None:
    with running(tmp_path, command=[SCRIPT]) as server:
        assert httpx2.get(server.path("overview"), headers=BEARER).json()["data"]["tickets"]["total"] == 142
        assert ended(server) == 0


@pytest.mark.usefixtures("traced")
def test_a_database_file_survives_a_restart(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'kept.db'}"

    def figures(server: Server) -> list[object]:
        paths = [
            urlsplit(before.path(name)).path + query
            for name, query in (("overview", ""), ("overview", "?period=year"), ("agents", ""))
        ]
        return [httpx2.get(server.url + path, headers=BEARER).raise_for_status().json() for path in paths]

    with running(tmp_path, "--database", database, "--dataset", "documented") as before:
        first = figures(before)
        assert ended(before) == 0
    with running(tmp_path, "--database", database) as after:
        assert after.ready["teams"] == []
        assert figures(after) == first
        assert ended(after) == 0
    with running(tmp_path, "--database", database, "--dataset", "documented") as again:
        assert again.ready["teams"] == before.ready["teams"]
        assert figures(again) == first


@pytest.mark.parametrize(("prefix", "limit", "status"), [("sk_live", 1000, 200), ("pk_live", 100, 403)])
def test_exactly_the_first_request_over_the_limit_is_refused(
    prefix: str, limit: int, status: int, tmp_path: Path
) -> None:
    with running(tmp_path, "--log-level", "warning") as server, httpx2.Client() as client:
        headers = {"Authorization": f"Bearer {prefix}_your_key"}
        for number in range(1, limit + 1):
            response = client.get(server.path("overview"), headers=headers)
            assert response.status_code == status
            assert response.headers["X-RateLimit-Limit"] == str(limit)
            assert response.headers["X-RateLimit-Remaining"] == str(limit - number)
            assert "Retry-After" not in response.headers
        before = int(time.time())
        refused = client.get(server.path("overview"), headers=headers)
        after = int(time.time())
        assert refused.status_code == 429
        retry_after, reset = int(refused.headers["Retry-After"]), int(refused.headers["X-RateLimit-Reset"])
        assert before <= reset - retry_after <= after
        assert reset == int(response.headers["X-RateLimit-Reset"])
        assert 3600 - (after - before) - 60 < retry_after <= 3600
        assert refused.headers["X-RateLimit-Remaining"] == "0"
        assert refused.headers["X-RateLimit-Window"] == "3600"
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.json()["error"]["message"] == f"Rate limit exceeded. Try again in {retry_after} seconds"
        other_key = {"Authorization": f"Bearer {prefix.replace('live', 'test')}_your_key"}
        assert client.get(server.path("overview"), headers=other_key).status_code == status


@pytest.mark.usefixtures("traced")
def test_answers_say_how_long_an_idle_connection_is_kept(tmp_path: Path) -> None:
    with running(tmp_path, "--keep-alive", "1") as server, httpx2.Client() as client:
        key = {"Authorization": "Bearer sk_live_your_key"}
        paths = [server.path("overview")] * 3 + [f"{server.url}/healthz", f"{server.url}/nothing"]
        assert {client.get(path, headers=key).headers["Keep-Alive"] for path in paths} == {"timeout=1"}
        closing = client.get(paths[0], headers={**key, "Connection": "close"})
        assert (closing.headers["Connection"], "Keep-Alive" in closing.headers) == ("close", False)
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer(idle)[0] == 200
            begun = time.monotonic()
            assert idle.recv(1) == b""
            assert time.monotonic() - begun > 1
