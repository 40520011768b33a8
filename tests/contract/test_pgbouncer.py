"""PostgreSQL behind a pooler that hands each transaction to another connection: a real PgBouncer.

One test needs no PgBouncer: it checks with a fake driver when statements are prepared.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import make_url, text
from tests.conftest import free_port
from tests.engines import Shared

from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.store.database import Database
from cstar_mock.store.postgresql import prepare_nothing_behind_a_pooler


class Driver:
    """A connection that was told one process id, and reaches another process."""

    def __init__(self, told: int, real: int) -> None:
        self.info = SimpleNamespace(backend_pid=told)
        self.prepare_threshold: int | None = 5
        self.autocommit = False
        self._real = real

    def execute(self, _statement: str) -> Any:
        """Answer the one question."""
        assert self.autocommit
        return SimpleNamespace(fetchone=lambda: (self._real,))


@pytest.mark.parametrize(("told", "threshold"), [(7, 5), (8, None)])
def test_nothing_is_prepared_where_the_process_is_another_than_was_told(told: int, threshold: int | None) -> None:
    driver = Driver(told, 7)
    prepare_nothing_behind_a_pooler(driver, None)
    assert (driver.prepare_threshold, driver.autocommit) == (threshold, False)


@pytest.fixture(name="pooled")
def _pooled(shared_engines: Shared) -> Iterator[str]:
    """The URL of a database behind a PgBouncer that pools by transaction, with two connections."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "install pgbouncer: apt-get install pgbouncer"
    with shared_engines.place() as place, tempfile.TemporaryDirectory() as name:
        url, port, folder = make_url(place.url), free_port(), Path(name)
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\npooled = host={url.query['host']} dbname={url.database} user={url.username}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 100\n"
        )
        folder.chmod(0o755)
        # It refuses to run as root, and the socket of PostgreSQL is its owner's.
        owner = pwd.getpwuid(Path(str(url.query["host"])).stat().st_uid).pw_name
        user = ["-u", owner] if os.geteuid() == 0 else []
        with subprocess.Popen([program, "-q", *user, str(config)], stderr=subprocess.PIPE, text=True) as pooler:
            pooled = f"postgresql+psycopg://{url.username}@127.0.0.1:{port}/pooled"
            try:
                _wait_for(pooled)
                yield pooled
            finally:
                pooler.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with closing(Database(url)) as database:
                database.read_now(lambda connection: connection.scalar(text("SELECT 1")))
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _ask_often(url: str) -> Counter[str]:
    """Ask different questions again and again on several connections, and count what came of it."""

    def ask(number: int) -> Counter[str]:
        answered: Counter[str] = Counter()
        with closing(Database(url)) as database:
            for _ in range(30):
                try:
                    answer = database.read_now(
                        lambda connection: connection.scalar(text(f"SELECT {number} + :n"), {"n": 1})
                    )
                    answered["right" if answer == number + 1 else "wrong"] += 1
                except Exception as error:  # noqa: BLE001  (counted)
                    answered[type(error).__name__] += 1
        return answered

    with ThreadPoolExecutor(6) as threads:
        return sum(threads.map(ask, range(6)), Counter())


def test_every_statement_succeeds_behind_a_pooler_by_transaction(pooled: str) -> None:
    assert _ask_often(pooled) == {"right": 180}


def test_prepared_statements_would_be_mixed_up_there(pooled: str) -> None:
    """Without this, the test above could pass because the pooler keeps one connection for each client."""
    assert _ask_often(f"{pooled}?prepare_threshold=0")["right"] < 180
