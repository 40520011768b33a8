"""Workers and their supervisor: one that dies or hangs is replaced, and one that can't start says why."""

import logging
import multiprocessing
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from tests.conftest import COMMAND, Server, free_port, running

from cstar_mock.observability import logs
from cstar_mock.serving import workers
from cstar_mock.serving.listener import listen
from cstar_mock.settings import Settings


def pids(server: Server) -> set[int]:
    """Return the process ids of a server's workers."""
    return children(server.process.pid)


def children(pid: int) -> set[int]:
    """Return the process ids of a supervisor's workers."""
    found = subprocess.run(["pgrep", "-P", str(pid), "-f", "spawn_main"], capture_output=True, text=True, check=False)
    return {int(line) for line in found.stdout.split()}


def wait_until(fact: Callable[[], bool]) -> None:
    """Wait for a fact, half a minute at most."""
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("traced")
def test_a_worker_that_dies_is_replaced_and_named_in_the_log(tmp_path: Path, valkey: str) -> None:
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    options = ("--workers", "2", "--database", database, "--dataset", "documented", "--state", valkey, "--metrics")
    with running(tmp_path, *options) as server:
        before = pids(server)
        dead = min(before)
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: len(pids(server) - before) == 1 and dead not in pids(server))
        wait_until(lambda: httpx2.get(f"{server.url}/readyz").status_code == 200)
        os.kill(server.process.pid, signal.SIGHUP)  # does nothing, as a terminal that closes sends it to workers too
        for _ in range(20):
            answer = httpx2.get(server.path("overview"), headers={"Authorization": "Bearer sk_live_your_key"})
            assert answer.status_code == 200
        assert "cstar_mock_requests_total" in httpx2.get(f"{server.url}/metrics").text
        assert server.stop() == 0
        assert pids(server) == set()
        assert server.log.read_text().count("a worker ended with -9 and is replaced") == 1


def test_ctrl_c_while_workers_start_is_no_traceback(tmp_path: Path, valkey: str) -> None:
    """A terminal sends it to all processes, and what Python is importing then would end in a traceback."""
    database = f"sqlite:///{tmp_path / 'shared.db'}"
    command = [*COMMAND, "serve", "--port", "0", "--workers", "2", "--database", database, "--state", valkey]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: len(children(process.pid)) == 2)
            assert all(ignores(pid, signal.SIGINT) for pid in children(process.pid))
            time.sleep(0.4)
            os.killpg(process.pid, signal.SIGINT)
            assert process.communicate(timeout=30)[1] == ""
            assert process.returncode == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ignores(pid: int, number: signal.Signals) -> bool:
    """Whether a process ignores a signal."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_a_worker_that_does_not_answer_in_time_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_HUNG_SECONDS", 0.5)
    with listen("127.0.0.1", 0) as listener:
        settings = Settings(database=f"sqlite:///{tmp_path / 'a.db'}", log_level="error")
        worker = workers._Worker(settings, listener, str(tmp_path))  # noqa: SLF001
        pid = worker.process.pid
        assert pid is not None
        try:
            wait_until(lambda: worker.is_well() and worker._asked is None)  # noqa: SLF001
            assert worker.is_well()
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: not worker.is_well())
            assert worker.process.is_alive()
        finally:
            os.kill(pid, signal.SIGCONT)
            worker.kill()
        assert not worker.is_well()


def test_a_worker_that_can_not_reach_the_database_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    settings = Settings(database=f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
    pings, pongs = multiprocessing.Pipe()
    with listen("127.0.0.1", 0) as listener, caplog.at_level(logging.ERROR), pytest.raises(SystemExit) as ended:
        workers._work(settings, listener, str(tmp_path), pongs)  # noqa: SLF001
    assert ended.value.code == 1
    assert [record.message.startswith("a worker can't start: ") for record in caplog.records] == [True]
    pings.send_bytes(b"ping")
    assert pings.recv_bytes() == b"ping"
    pings.close()
