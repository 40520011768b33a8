"""The log of a real server: whatever becomes of its standard streams, requests are answered and memory stays."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from tests.conftest import COMMAND

from cstar_mock import bounds

REQUESTS = int(os.environ.get("LOG_REQUESTS", "3000"))
"""Requests while nothing of the log can be written: enough to fill a pipe and the buffer."""
BEARER = {"Authorization": "Bearer sk_live_your_key"}
LONG_PATH = "/api/" + "x" * 450
"""A path whose log line has about 600 bytes."""
MOST_GROWTH = 8 * 1024 * 1024
"""Bytes that memory may grow by: the journal's, the buffer's, the allocator's."""


@contextmanager
def serving(tmp_path: Path, *options: str, **streams: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a server with these standard streams, and yield its process and its URL."""
    ready = tmp_path / "ready.json"
    command = [*COMMAND, "serve", "--port", "0", "--ready-file", str(ready), "--journal-size", "10", *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, cwd=tmp_path, **streams)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process, json.loads(ready.read_text())["url"]
    finally:
        process.kill()
        process.communicate()


def ask(url: str, count: int) -> None:
    """Send requests whose log lines are long, fifty at a time."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        for _ in range(count // 50):
            connection.sendall(f"GET {LONG_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 50)
            received = b""
            while received.count(b'"request_id"') < 50:
                data = connection.recv(65536)
                assert data, received
                received += data
            assert received.count(b"HTTP/1.1 404") == 50


def fill(pipe: int) -> None:
    """Write to a pipe until it takes no more."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 65536)
    os.set_blocking(pipe, True)


def assert_ends(process: subprocess.Popen[bytes]) -> None:
    """Assert that a server ends soon, with 0."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(bounds.LOG_EXIT_SECONDS + 8) == 0


def assert_memory_stays(process: subprocess.Popen[bytes], url: str) -> None:
    """Assert that many further requests take no more memory."""
    before = memory(process)
    ask(url, REQUESTS)
    assert memory(process) - before < MOST_GROWTH


def memory(process: subprocess.Popen[bytes]) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    """Nor does an announcement."""
    received, sent = os.pipe()
    fill(sent)
    with serving(tmp_path, stdout=sent, stderr=subprocess.PIPE) as (process, url):
        ask(url, 2000)
        assert_memory_stays(process, url)
        assert httpx2.get(f"{url}/healthz").status_code == 200
        assert_ends(process)
    os.close(received)
    os.close(sent)


def test_a_log_that_is_read_again_says_how_many_lines_are_missing(tmp_path: Path) -> None:
    with serving(tmp_path, "--log-format", "json", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as (process, url):
        ask(url, REQUESTS)
        process.terminate()
        lines = [json.loads(line) for line in process.communicate(timeout=30)[1].splitlines()]
    told = [int(line["message"].split()[0]) for line in lines if line["logger"] == "cstar_mock.logs"]
    assert sum(told) > 0
    assert len(lines) - len(told) + sum(told) == REQUESTS


def test_a_log_on_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, serving(tmp_path, stdout=full, stderr=full) as (process, url):
        ask(url, 1000)
        assert_memory_stays(process, url)
        assert_ends(process)


def test_a_server_without_standard_streams_serves_and_writes_into_no_file_of_others(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *COMMAND, "serve", "--port", "0"]
    database, ready = tmp_path / "some.db", tmp_path / "ready.json"
    options = ["--database", f"sqlite:///{database}", "--dataset", "documented", "--ready-file", str(ready)]
    process = subprocess.Popen([*command, *options], start_new_session=True, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        url = json.loads(ready.read_text())["url"]
        for number in range(3):
            assert {Path(f"/proc/{process.pid}/fd/{number}").resolve() for number in range(3)}.isdisjoint({database})
            assert httpx2.get(f"{url}/api/v1/auth/whoami", headers=BEARER).status_code == 200, number
        assert_ends(process)
    finally:
        process.kill()
        process.wait()
    assert b"GET /api" not in database.read_bytes()


def test_a_server_starts_and_logs_without_unicode(tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    log = tmp_path / "log"
    with log.open("wb") as file, serving(tmp_path, stdout=file, stderr=file, env=environment) as (process, url):
        assert httpx2.get(f"{url}/api/%C3%BC%E2%80%A6").status_code == 404
        assert_ends(process)
    assert b"GET /api/" in log.read_bytes()
    assert b"Traceback" not in log.read_bytes()
