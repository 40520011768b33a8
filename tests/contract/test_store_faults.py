"""A store that is missing, replaced, damaged, full, read-only or closed to the role: 503 with a reason, or one line."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError
from starlette.testclient import TestClient
from tests.conftest import COMMAND, cli_runner, running
from tests.contract.test_server import output
from tests.engines import Shared

from cstar_mock import Settings, create_app
from cstar_mock.cli import cli
from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.store import engine_errors, migrations
from cstar_mock.store.database import Database
from cstar_mock.store.engine_errors import StoreConflict


class DriverError(Exception):
    """An error of a driver with a code."""

    def __init__(self, **code: str) -> None:
        super().__init__("the engine's words\nDETAIL: more")
        self.__dict__ |= code


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("08006", "can't be reached"),
        ("22P05", "has an encoding that lacks a character"),
        ("25006", "is read-only"),
        ("28P01", "refuses the login"),
        ("40P01", "had too many conflicting transactions"),
        ("42501", "lacks a privilege"),
        ("42P01", "lacks a table"),
        ("53100", "no disk space"),
        ("53300", "too many connections"),
        ("55P03", "is locked"),
        ("57014", "took too long"),
        ("57P01", "is shutting down"),
        ("58030", "a fault of its system"),
        ("XX001", "an internal fault"),
        ("SQLITE_BUSY", "is locked"),
        ("SQLITE_CANTOPEN_ISDIR", "can't be opened"),
        ("SQLITE_CORRUPT_INDEX", "is damaged"),
        ("SQLITE_FULL", "no disk space"),
        ("SQLITE_IOERR_READ", "can't be read or written"),
        ("SQLITE_NOTADB", "is not a SQLite database"),
        ("SQLITE_READONLY_ROLLBACK", "is read-only"),
    ],
)
def test_every_class_of_refusal_is_an_outage_with_its_reason(code: str, problem: str) -> None:
    name = "sqlite_errorname" if code.startswith("SQLITE") else "sqlstate"
    meaning = engine_errors.translated(DBAPIError("SELECT :secret", {"secret": "s"}, DriverError(**{name: code})))
    assert isinstance(meaning, StoreUnavailable)
    assert problem in meaning.sentence


def test_a_wrong_statement_is_a_fault_of_ours() -> None:
    assert engine_errors.translated(ProgrammingError("SELEC", {}, DriverError(sqlstate="42601"))) is None
    assert isinstance(engine_errors.translated(OperationalError("SELECT", {}, DriverError())), StoreUnavailable)


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "rows.db"


@pytest.fixture(name="client")
def _client(file: Path) -> Iterator[TestClient]:
    """A server of a SQLite file."""
    app = create_app(Settings(database=f"sqlite:///{file}"))
    with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
        assert client.post("/__admin/teams", json={"slug": "a"}).status_code == 201
        assert client.get("/readyz").status_code == 200
        yield client


def _delete(file: Path) -> None:
    file.unlink()


def _replace(file: Path) -> None:
    other = file.with_name("other.db")
    with closing(Database(f"sqlite:///{other}")) as database:
        migrations.prepare(database)
    other.replace(file)


@pytest.mark.parametrize("harm", [_delete, _replace])
def test_a_file_that_is_deleted_or_replaced_takes_no_more_writes(
    client: TestClient, file: Path, harm: Callable[[Path], None]
) -> None:
    key = client.post("/__admin/teams", json={"slug": "b"}).json()["keys"]["sk_test"]
    harm(file)
    there = file.exists()
    response = client.post("/__admin/teams", json={"slug": "c"})
    assert response.status_code == 503
    assert response.json()["detail"] == "the store was deleted or replaced while the server ran: restart the server"
    time.sleep(0.15)  # reads look ten times a second
    assert client.get("/readyz").status_code == 503
    assert client.get("/api/v1/auth/whoami", headers={"Authorization": f"Bearer {key}"}).status_code == 503
    assert client.get("/healthz").status_code == 200
    assert file.exists() == there, "a new file was made"


def _overwrite(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    file.write_bytes(b"garbage " * 10_000)


def _spoil_names(file: Path) -> None:
    """Make the schema's text undecodable: the driver can't tell in words what is wrong with it."""
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_schema SET sql = CAST(x'43524541544520ff' AS TEXT), name = CAST(x'ff' AS TEXT)")
        other.execute("PRAGMA schema_version = 999")


def _delete_wal(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()


def _replace_shm(file: Path) -> None:
    shm = file.with_name(f"{file.name}-shm")
    content = shm.read_bytes()
    shm.unlink()
    shm.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_overwrite, "is not a SQLite database"),
        (_spoil_names, "is damaged"),
        (_delete_wal, "lost its -wal file"),
        (_replace_shm, "lost its -shm file"),
    ],
)
def test_a_file_that_becomes_unreadable_is_an_outage(
    client: TestClient, file: Path, harm: Callable[[Path], None], reason: str
) -> None:
    harm(file)
    time.sleep(0.15)  # reads look ten times a second
    for _ in range(2):
        assert reason in client.post("/__admin/teams", json={"slug": "c"}).json()["detail"]
        for path in ("/readyz", "/api/v1/auth/whoami", "/__admin/teams", "/__admin/teams/a/explain/overview"):
            headers = {"Authorization": "Bearer sk_test_abcdefghijklmnopqrstuvwx"}
            assert client.get(path, headers=headers).status_code == 503, path
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("target", ["directory", "garbage"])
@pytest.mark.parametrize("command", ["serve --port 0", "keys list", "load documented", "db check", "db upgrade"])
def test_a_file_that_can_not_be_opened_is_told_in_one_line(tmp_path: Path, target: str, command: str) -> None:
    file = tmp_path / "rows.db"
    if target == "directory":
        file.mkdir()
    else:
        file.write_bytes(b"garbage " * 1_000)
    result = cli_runner().invoke(cli, [*command.split(), "--database", f"sqlite:///{file}"])
    problem = {"directory": "can't be opened", "garbage": "is not a SQLite database"}[target]
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert f"the database {problem}: " in result.stderr


def test_a_file_that_is_moved_away_and_back_is_served_again(client: TestClient, file: Path) -> None:
    elsewhere = file.with_name("elsewhere.db")
    file.replace(elsewhere)
    assert client.post("/__admin/teams", json={}).status_code == 503
    elsewhere.replace(file)
    assert client.post("/__admin/teams", json={}).status_code == 201


def test_while_another_process_writes_reads_are_answered_and_a_write_is_told(
    client: TestClient, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cstar_mock.store.sqlite._WRITER_WAITS_SECONDS", 1.5)
    with closing(sqlite3.connect(file, isolation_level=None)) as other, ThreadPoolExecutor(1) as thread:
        other.execute("BEGIN IMMEDIATE")
        write = thread.submit(client.post, "/__admin/teams", json={"slug": "late"})
        for _ in range(5):
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 200
            assert [team["slug"] for team in client.get("/__admin/teams").json()["teams"]] == ["a"]
        assert not write.done(), "the reads waited for the write"
        assert write.result().status_code == 503
        assert write.result().json()["detail"] == "the store is locked by another process"
        other.execute("ROLLBACK")
    assert client.post("/__admin/teams", json={"slug": "late"}).status_code == 201


def test_processes_that_open_a_new_file_at_once_all_succeed(tmp_path: Path) -> None:
    script = (
        "import sys; from cstar_mock.store import database, migrations; sys.stdin.readline(); "
        "[migrations.prepare(database.Database(f'sqlite:///{n}.db')) for n in range(10)]"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=60) for process in started]
    assert [(process.returncode, err) for process, (_, err) in zip(started, ended, strict=True)] == [(0, "")] * 4


@pytest.mark.parametrize(
    "arguments", [("keys", "list"), ("keys", "revoke", "key_1"), ("db", "check"),
                  ("keys", "create", "--team", "a", "--type", "sk_live")]
)  # fmt: skip
def test_a_command_that_creates_nothing_makes_no_database(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "typo.db"
    code, out, err = output(COMMAND, *arguments, "--database", f"sqlite:///{file}")
    assert (code, out, err) == (1, "", f"cstar-mock: there is no database file {file}\n")
    assert not file.exists()


@pytest.mark.parametrize("option", ["schema=mine", "prepare_threshold=often", "nonsense=1"])
def test_an_unknown_option_of_the_url_is_refused_in_one_line(option: str) -> None:
    code, out, err = output(COMMAND, "keys", "list", "--database", f"postgresql://127.0.0.1:1/x?{option}")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert option.partition("=")[0] in err


@pytest.mark.parametrize(("option", "prepares"), [("5", True), ("0", True), ("none", False)])
def test_the_url_says_from_when_on_statements_are_prepared(shared_engines: Shared, option: str, prepares: bool) -> None:
    with shared_engines.place() as place:
        url = make_url(place.url).update_query_dict({"prepare_threshold": option}).render_as_string(hide_password=False)
        assert _prepared(url) is prepares
        assert _prepared(place.url), "without a pooler, statements are prepared"


def _prepared(url: str) -> bool:
    def ask(connection: Any) -> bool:
        for _ in range(8):
            connection.execute(text("SELECT 1"))
        return bool(connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")))

    with closing(Database(url)) as database:
        return database.read_now(ask)


def _execute(connection: Connection, statement: str) -> None:
    connection.execute(text(statement))


@pytest.fixture(name="closed_to")
def _closed_to(shared_engines: Shared) -> Iterator[Callable[[str], str]]:
    """Return a function that takes a database away from writers, and returns its URL."""
    with shared_engines.place() as place, closing(Database(place.url)) as owner:

        def close_to(way: str) -> str:
            url = make_url(place.url)
            if way == "read-only":
                return url.update_query_dict({"options": "-c default_transaction_read_only=on"}).render_as_string(
                    hide_password=False
                )
            for statement in ("CREATE ROLE nobody_here LOGIN", "GRANT SELECT ON alembic_version TO nobody_here"):
                owner.read_now(_execute, statement)
            return url.set(username="nobody_here").render_as_string(hide_password=False)

        yield close_to
        for statement in ("DROP OWNED BY nobody_here", "DROP ROLE IF EXISTS nobody_here"):
            try:
                owner.read_now(_execute, statement)
            except ProgrammingError:
                continue


@pytest.mark.parametrize(
    ("way", "reason"), [("read-only", "is read-only"), ("no rights", "refuses the access: the role lacks a privilege")]
)
def test_a_postgresql_that_refuses_writes_is_told_in_one_line(
    closed_to: Callable[[str], str], way: str, reason: str
) -> None:
    url = closed_to(way)
    with TestClient(create_app(Settings(database=url)), "http://127.0.0.1", raise_server_exceptions=False) as client:
        response = client.post("/__admin/teams", json={"slug": "a"})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert reason in response.json()["detail"]
        assert client.get("/readyz").status_code == (200 if way == "read-only" else 503)
    code, out, err = output(COMMAND, "load", "documented", "--database", url)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"cstar-mock: the database {reason}")
    assert "INSERT" not in err.replace("cannot execute INSERT", "")


@pytest.mark.parametrize(
    ("harm", "cure"),
    [
        ("ALTER TABLE rollups RENAME TO gone", "ALTER TABLE gone RENAME TO rollups"),
        ("ALTER TABLE api_keys RENAME COLUMN digest TO gone", "ALTER TABLE api_keys RENAME COLUMN gone TO digest"),
    ],
)
def test_a_postgresql_without_a_table_or_a_column_is_not_ready(shared_engines: Shared, harm: str, cure: str) -> None:
    with shared_engines.place() as place, closing(Database(place.url)) as owner:
        app = create_app(Settings(database=place.url))
        with TestClient(app, "http://127.0.0.1", raise_server_exceptions=False) as client:
            assert client.get("/readyz").status_code == 200
            owner.write_now(_execute, harm)
            try:
                assert client.get("/readyz").status_code == 503
            finally:
                owner.write_now(_execute, cure)
            assert client.get("/readyz").status_code == 200


def test_two_that_create_the_same_meet_as_a_conflict(shared_engines: Shared) -> None:
    """What stays refused after it was run again is a conflict, whichever constraint forbids it."""
    with shared_engines.place() as place, closing(Database(place.url)) as database, pytest.raises(StoreConflict):
        database.write_now(lambda connection: connection.execute(text("INSERT INTO teams (id) VALUES ('a')")))


def test_a_replica_says_which_teams_a_full_database_has(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    assert output(COMMAND, "load", "documented", "--database", url)[0] == 0
    with running(tmp_path, "--database", url) as server:
        server.stop()
        assert server.process.stdout is not None
        told = server.process.stdout.read()
    assert "The database has 2 teams: acme, acme-neighbour." in told
