"""Several workers: processes with the same settings on the same listener, and their supervisor.

A worker gets its settings through the pipe by which multiprocessing starts it, so no token is in its environment. A
worker that dies or hangs is replaced; all end together.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from multiprocessing.connection import Connection, wait
from types import FrameType
from urllib.parse import urlsplit

from cstar_mock.application import create_app
from cstar_mock.contract.errors import Unavailable
from cstar_mock.observability import logs
from cstar_mock.serving import uvicorn_server
from cstar_mock.serving.listener import keep_out
from cstar_mock.serving.server_process import end_with_parent
from cstar_mock.settings import Settings

_READY_SECONDS = 60
_HUNG_SECONDS = 30
_PAUSE_SECONDS = 0.5
"""Between two looks at the workers, and before one that died is replaced."""

_log = logging.getLogger("cstar_mock.server")
_spawn = multiprocessing.get_context("spawn")


def serve(settings: Settings, listener: socket.socket, url: str, ready: Callable[[], None]) -> None:
    """Serve with several workers until SIGTERM or SIGINT.

    Args:
        settings: the choices to serve by.
        listener: the socket that all workers accept connections on.
        url: the URL at which this machine reaches it.
        ready: called once requests are answered.
    """
    # Python puts the working directory first on the path of a process that is started as multiprocessing does.
    os.environ["PYTHONSAFEPATH"] = "1"
    with tempfile.TemporaryDirectory(prefix="cstar-mock-metrics-") as metrics_folder:
        supervisor = _Supervisor(lambda: _Worker(settings, listener, metrics_folder), settings.workers)
        threading.Thread(target=_wait_until_ready, args=(url, ready), daemon=True).start()
        supervisor.run(listener)


class _Worker:
    """A process that serves, and answers its supervisor's pings."""

    def __init__(self, settings: Settings, listener: socket.socket, metrics_folder: str) -> None:
        self._pings, pongs = _spawn.Pipe()
        self._asked: float | None = None
        self.process = _spawn.Process(target=_work, args=(settings, listener, metrics_folder, pongs))
        with _interrupts_ignored_by_children():
            self.process.start()
        pongs.close()

    def is_well(self) -> bool:
        """Whether the process runs, and has answered a ping within half a minute: a machine may be busy."""
        if not self.process.is_alive():
            return False
        try:
            if self._asked is None:
                self._pings.send_bytes(b"ping")
                self._asked = time.monotonic()
            elif self._pings.poll(0):
                self._pings.recv_bytes()
                self._asked = None
        except (OSError, EOFError):
            return False
        return self._asked is None or time.monotonic() - self._asked < _HUNG_SECONDS

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self._pings.close()


class _Supervisor:
    """Keeps the number of workers, and ends all of them at the same time."""

    def __init__(self, start: Callable[[], _Worker], count: int) -> None:
        self._start = start
        self._count = count
        self._ending = False

    def run(self, listener: socket.socket) -> None:
        """Run the workers until SIGTERM or SIGINT; SIGHUP does nothing."""
        receiver, sender = socket.socketpair()
        with receiver, sender:
            sender.setblocking(False)
            signal.set_wakeup_fd(sender.fileno())  # so that the wait below ends at a signal
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._end)
            signal.signal(signal.SIGHUP, lambda _number, _frame: None)
            workers = [self._start() for _ in range(self._count)]
            while not self._ending:
                if wait([receiver], _PAUSE_SECONDS):
                    receiver.recv(4096)
                for index, worker in enumerate(workers):
                    if not self._ending and not worker.is_well():
                        worker.kill()
                        _log.error("a worker ended with %s and is replaced", worker.process.exitcode)
                        workers[index] = self._start()
            signal.set_wakeup_fd(-1)
        keep_out(listener)
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True


@contextmanager
def _interrupts_ignored_by_children() -> Iterator[None]:
    """Let a process that is started in the block ignore Ctrl-C until its server takes signals.

    A terminal sends SIGINT to all processes, and Python's imports would end in a traceback. This process gets one that
    arrives in the block afterwards: a blocked signal is not lost.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _work(settings: Settings, listener: socket.socket, metrics_folder: str, pongs: Connection) -> None:
    """Serve in a worker process, which ends with its supervisor."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # still ignored
    end_with_parent()
    threading.Thread(target=_answer_pings, args=(pongs,), daemon=True).start()
    # The library for metrics reads it at its import; an older one from outside would have the numbers of another run.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_folder
    logs.configure(settings.log_format, settings.log_level)
    try:
        app = create_app(settings)
    except Unavailable as error:
        _log.error("a worker can't start: %s: %s", error.sentence, error.reason)
        sys.exit(1)
    uvicorn_server.run(app, settings, listener, ready=lambda: None)


def _answer_pings(pongs: Connection) -> None:
    with suppress(EOFError, OSError):  # the supervisor has closed its end
        while True:
            pongs.send_bytes(pongs.recv_bytes())


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
