"""The command line, in this process: what it prints, what it changes, and how it fails."""

import importlib
import json
import re
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from pydantic import SecretStr
from tests.conftest import ROOT, cli_runner

from cstar_mock import VERSION, cli, create_app
from cstar_mock.cli import serving, store
from cstar_mock.serving.server import Announcement
from cstar_mock.settings import ENV_PREFIX, Settings, SettingsError, load
from cstar_mock.store.migrations import SCHEMA_REVISION
from cstar_mock.teams.lifecycle import LoadedTeam

FROZEN = ("--clock", "2025-12-10T14:30:00Z")
ACME = ["acme", "acme-neighbour"]
"""The teams of the documented data set."""
BAD_DATASET = "dataset: bad\nteams:\n  - slug: acme\n    colour: red\n"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'some.db'}"


def run(*arguments: str, **environment: str) -> Result:
    """Run a command that has to succeed."""
    result = cli_runner().invoke(cli.cli, arguments, env=environment)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result


def fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run a command that has to fail, as a user does, and return its exit code and its one line on stderr."""
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["cstar-mock", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("cstar-mock: ")
    assert printed.err.count("\n") == 1
    assert isinstance(exited.value.code, int)
    return exited.value.code, printed.err.removeprefix("cstar-mock: ").rstrip("\n")


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, asked behind cstar-mock's back."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()


def listed(url: str, *options: str) -> list[list[str]]:
    """Return the words of each line of `keys list`."""
    return [line.split(maxsplit=3) for line in run("keys", "list", *options, "--database", url).output.splitlines()]


def test_it_says_its_version() -> None:
    assert run("--version").output == f"cstar-mock, version {VERSION}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_it_lists_its_commands(flag: str) -> None:
    output = run(flag).output
    commands = output.partition("Commands:\n")[2].splitlines()
    assert {line.split()[0] for line in commands if line.startswith("  ") and line[2] != " "} >= {
        "serve", "load", "generate", "keys", "db", "openapi", "schema",
    }  # fmt: skip


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_an_option_of_serve_with_its_variable_and_default(name: str) -> None:
    shown = " ".join(run("serve", "--help").output.split())
    option = f"--{name.replace('_', '-')}"
    field = Settings.model_fields[name]
    if field.annotation is bool:
        assert f"{option} / --no-{option[2:]} " in shown
    else:
        assert re.search(rf"{option} (VALUE|[a-z|]+|[0-9.]+) ", shown)
    told = f"[{ENV_PREFIX}{name.upper()}"
    if field.annotation is bool:
        told += f"; default: {'on' if field.default else 'off'}"
    elif field.default not in (None, ()):
        told += f"; default: {field.default}"
    assert f"{told}]" in shown


@pytest.mark.parametrize("group", [(), ("keys",), ("db",)])
def test_a_group_without_a_command_shows_its_help_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cstar-mock", *group])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    printed = capsys.readouterr()
    assert (exited.value.code, printed.err) == (0, "")
    assert printed.out.startswith(" ".join(["Usage: cstar-mock", *group, "[OPTIONS] COMMAND"]))
    assert "..." not in printed.out.split("Commands:")[1]
    assert "…" not in printed.out


def test_the_help_of_exec_has_the_defaults_of_exec() -> None:
    shown = {name: " ".join(run(name, "--help").output.split()) for name in ("serve", "exec")}
    assert "CSTAR_MOCK_PORT; default: 27827" in shown["serve"]
    assert "CSTAR_MOCK_PORT; default: a free one" in shown["exec"]
    assert "CSTAR_MOCK_LOG_LEVEL; default: warning" in shown["exec"]
    assert "--ready-file" in shown["serve"]
    assert "--ready-file" not in shown["exec"]


def test_the_help_has_the_allowed_values() -> None:
    shown = run("serve", "--help").output
    for part in ("--log-level debug|info|warning|error", "--log-format text|json", "--empty-mean null|zero"):
        assert part in shown
    for part in ("--port 0..65535", "--workers 1..64"):
        assert part in shown


@pytest.mark.parametrize("words", [("npm", "--version"), ("--", "npm", "--version"), ("npm", "--", "--port", "3")])
def test_the_options_of_exec_end_with_the_first_word_of_its_command(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    called: list[tuple[tuple[str, ...], list[str]]] = []

    def execute(command: tuple[str, ...], options: list[str]) -> int:
        called.append((command, options))
        return 0

    monkeypatch.setattr("cstar_mock.serving.execute.execute", execute)
    run("exec", "--journal-size", "5", *words)
    command = words[1:] if words[0] == "--" else words
    assert called == [(command, ["--journal-size", "5"])]


HOSTILE = [
    "", " ", "\udc80", "a\nb", "-1", "0x10", "1_000", "1e3", "NaN", str(2**63), str(10**30), "9" * 5000, "x" * 65_536,
    "+999999999w", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2025-12-10", "\u0663",
]  # fmt: skip


def options_of_commands() -> list[tuple[list[str], str]]:
    """Return a good call of each command that writes, and each of its options."""
    calls = {
        ("load",): ["documented"],
        ("generate",): ["--tickets", "1"],
        ("keys", "create"): ["--team", "acme", "--type", "sk_test"],
        ("keys", "list"): [],
        ("keys", "revoke"): ["key_none"],
    }
    skipped = {"--database", "--replace"}
    found: list[tuple[list[str], str]] = []
    for words, arguments in calls.items():
        command: Any = cli.cli
        for word in words:
            command = command.commands[word]
        for option in command.params:
            name = option.opts[0]
            found += [([*words, *arguments], name)] if name.startswith("--") and name not in skipped else []
    return found


@pytest.mark.parametrize(("call", "option"), options_of_commands())
def test_an_option_takes_a_hostile_value_or_refuses_it_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database: str, call: list[str], option: str
) -> None:
    run("load", "documented", "--database", database)
    before = query(database, "SELECT count(*), max(revision) FROM teams")
    for value in HOSTILE:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["cstar-mock", *call, f"{option}={value}", "--database", database])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        if exited.value.code:
            assert printed.err.count("\n") == 1, printed.err
            assert len(printed.err) < 500
            assert query(database, "SELECT count(*), max(revision) FROM teams") == before
        before = query(database, "SELECT count(*), max(revision) FROM teams")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_takes_a_hostile_value_or_refuses_it_in_a_line(name: str) -> None:
    for value in HOSTILE:
        refusal = ""
        try:
            load(**{name: value})
        except SettingsError as error:
            refusal = str(error)
        assert not refusal or f"--{name.replace('_', '-')}" in refusal
        assert "\n" not in refusal
        assert len(refusal) < 500


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--bogus",), "--bogus"),
        (("serve", "--bogus"), "--bogus"),
        (("load", "documented", "--bogus"), "--bogus"),
        (("nothing",), "nothing"),
        (("keys", "nothing"), "nothing"),
        (("load", "documented"), "--database"),
        (("load", "--database", "sqlite://"), "DATASET"),
        (("generate", "--tickets", "0", "--database", "sqlite://"), "--tickets"),
        (("generate", "--tickets", "many", "--database", "sqlite://"), "--tickets"),
        (("keys", "create", "--team", "acme", "--type", "xx_live", "--database", "sqlite://"), "--type"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, told = fail(monkeypatch, capsys, *arguments)
    assert code == 2
    assert sentence in told


def test_a_setting_that_is_not_allowed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = fail(monkeypatch, capsys, "serve", "--port", "x")
    assert (code, told[:31]) == (1, "--port: 'x' is not allowed: inp")


def test_main_ends_with_0_after_a_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["cstar-mock", "--version"])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 0
    assert capsys.readouterr() == (f"cstar-mock, version {VERSION}\n", "")


def test_the_documented_data_set_is_loaded_once(database: str) -> None:
    first = run("load", "documented", "--database", database).output.splitlines()
    assert first[0].split()[:2] == ["loaded", "acme"]
    assert [line.split()[1] for line in first[1:5]] == [
        "sk_live_your_key", "sk_test_your_key", "pk_live_your_key", "pk_test_your_key",
    ]  # fmt: skip
    assert first[5].split()[:2] == ["loaded", "acme-neighbour"]
    before = query(database, "SELECT * FROM tickets ORDER BY environment, id")
    assert len([row for row in before if row[1] == "live"]) >= 142
    second = run("load", "documented", "--database", database).output.splitlines()
    assert second == [line.replace("loaded", "unchanged") for line in first]
    assert query(database, "SELECT * FROM tickets ORDER BY environment, id") == before


def test_several_data_sets_are_loaded_by_one_command(database: str) -> None:
    output = run("load", "documented", "edge", "--database", database).output
    assert [line.split()[1] for line in output.splitlines() if line.startswith("loaded")] == [*ACME, "edge"]
    assert query(database, "SELECT slug FROM teams ORDER BY slug") == [("acme",), ("acme-neighbour",), ("edge",)]


def test_other_content_needs_replace(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("load", "documented", "--database", database)
    other = tmp_path / "other.yaml"
    other.write_text("dataset: other\nteams:\n  - slug: acme\n    live:\n      customers: [{id: cus_1}]\n")
    code, told = fail(monkeypatch, capsys, "load", str(other), "--database", database)
    assert code == 1
    assert told.startswith(f"{other}:3: teams[0].slug: ")
    assert "--replace" in told
    assert query(database, "SELECT DISTINCT dataset FROM teams") == [("documented",)]
    replaced = run("load", str(other), "--replace", "--database", database).output
    assert replaced.startswith("loaded  acme  ")
    assert query(database, "SELECT id FROM customers") == [("cus_1",)]
    assert query(database, "SELECT count(*) FROM tickets") == [(0,)]


def test_an_unknown_data_set_is_told_with_those_there_are(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = fail(monkeypatch, capsys, "load", "nothing", "--database", database)
    assert (code, told) == (
        1,
        "no data set 'nothing': give busy, documented, edge, empty, or the path of a file",
    )


def test_a_bad_file_is_told_with_line_and_field(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BAD_DATASET)
    code, told = fail(monkeypatch, capsys, "load", str(bad), "--database", database)
    assert (code, told) == (1, f"{bad}:4: teams[0].colour: is no known field")


def test_serve_tells_a_bad_file_in_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BAD_DATASET)
    monkeypatch.setattr("cstar_mock.observability.logs.configure", lambda *_: None)
    code, told = fail(monkeypatch, capsys, "serve", "--port", "0", "--dataset", str(bad))
    assert (code, told) == (1, f"{bad}:4: teams[0].colour: is no known field")


def test_the_same_seed_makes_the_same_rows_and_another_one_others(tmp_path: Path) -> None:
    def rows(name: str, *options: str) -> list[tuple[Any, ...]]:
        url = f"sqlite:///{tmp_path / name}"
        run("generate", "--tickets", "200", *FROZEN, *options, "--database", url)
        return [
            row
            for table in ("members", "customers", "tickets", "csat_responses")
            for row in query(url, f"SELECT * FROM {table} ORDER BY environment, id")  # noqa: S608
        ]

    first = rows("a.db", "--seed", "7")
    assert len(first) > 200
    assert rows("b.db", "--seed", "7") == first
    assert rows("c.db", "--seed", "8") != first


def test_generated_rows_are_left_alone_by_a_second_run(database: str) -> None:
    options = ("--tickets", "50", "--slug", "big", *FROZEN, "--database", database)
    assert run("generate", *options).output.startswith("loaded  big  ")
    assert query(database, "SELECT count(*) FROM tickets") == [(50,)]
    again = run("generate", *options).output
    assert again.startswith("unchanged  big  ")
    assert again.count("\n") == 1, "keys made at random can't be shown again"
    assert query(database, "SELECT count(*) FROM tickets") == [(50,)]
    run("generate", "--tickets", "51", "--replace", *options[2:])
    assert query(database, "SELECT count(*) FROM tickets") == [(51,)]


def test_the_clock_of_generated_rows_stops_where_it_was_told(database: str) -> None:
    run("generate", "--tickets", "20", *FROZEN, "--database", database)
    ((frozen_at, newest),) = query(database, "SELECT clock_frozen_at, (SELECT max(created_at) FROM tickets) FROM teams")
    assert frozen_at == 1_765_377_000_000_000
    assert newest <= frozen_at


def test_without_a_clock_generated_rows_follow_real_time(database: str) -> None:
    run("generate", "--tickets", "1", "--database", database)
    assert query(database, "SELECT clock_frozen_at FROM teams") == [(None,)]


def test_a_clock_that_is_no_time_is_told(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = fail(monkeypatch, capsys, "generate", "--tickets", "1", "--clock", "yesterday", "--database", database)
    assert code == 1
    assert "'yesterday' is not an ISO 8601 date and time" in told


@pytest.mark.parametrize("prefix", ["sk_live", "sk_test", "pk_live", "pk_test"])
def test_a_key_is_shown_once_and_then_only_by_its_end(prefix: str, database: str) -> None:
    run("load", "documented", "--database", database)
    before = listed(database)
    key = run("keys", "create", "--team", "acme", "--type", prefix, "--database", database).output.strip()
    assert key.startswith(f"{prefix}_")
    assert len(key) == len(prefix) + 1 + 32
    (new,) = [line for line in listed(database) if line not in before]
    assert new[1:] == [f"{prefix}_…{key[-4:]}", "acme", "valid"]
    assert key not in run("keys", "list", "--database", database).output
    stored = Path(database.removeprefix("sqlite:///"))
    assert not any(key.encode() in file.read_bytes() for file in stored.parent.glob("some.db*"))


def test_a_key_can_have_its_own_limit_and_its_end(database: str) -> None:
    run("load", "documented", "--database", database)
    team = query(database, "SELECT id FROM teams")[0][0]
    create = ("keys", "create", "--team", team, "--type", "sk_live", "--database", database)
    run(*create, "--rate-limit", "5", "--expires", "+30d")
    run(*create, "--expires", "2025-12-10T14:30:00Z")
    states = {line[3] for line in listed(database)}
    assert states >= {"valid", "valid until 2026-01-09T14:30:00Z", "expired 2025-12-10T14:30:00Z"}
    limits = query(
        database,
        "SELECT rate_limit FROM api_keys WHERE expires_at IS NOT NULL AND name IS NULL ORDER BY rate_limit",
    )
    assert limits == [(None,), (5,)]


def test_keys_are_listed_for_one_team_or_for_all(database: str) -> None:
    run("load", "documented", "edge", "--database", database)
    assert {line[2] for line in listed(database)} == {*ACME, "edge"}
    assert [line[2] for line in listed(database, "--team", "edge")] == ["edge"] * 4


def test_a_revoked_key_stays_listed_as_revoked(database: str) -> None:
    run("load", "documented", "--database", database)
    before = listed(database)
    key_id = next(line[0] for line in before if line[3] == "valid")
    assert run("keys", "revoke", key_id, "--database", database).output == f"revoked {key_id}\n"
    assert {line[0]: line[3] for line in listed(database)}[key_id] == "revoked"
    left = [line[3] for line in listed(database)].count("valid")
    assert left == [line[3] for line in before].count("valid") - 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "--team", "nobody", "--type", "sk_live"), "there is no team 'nobody'"),
        (("list", "--team", "nobody"), "there is no team 'nobody'"),
        (("revoke", "key_0"), "there is no key 'key_0'; `cstar-mock keys list` shows the ids"),
        (
            ("create", "--team", "acme", "--type", "sk_live", "--expires", "soon"),
            "'soon' is not an ISO 8601 date and time such as 2025-12-10T14:30:00Z",
        ),
        (
            ("create", "--team", "acme", "--type", "sk_live", "--expires", "+3y"),
            "'+3y' is not a relative time such as -3d, -1h30m or +2w (units s m h d w)",
        ),
    ],
)
def test_what_keys_can_not_do_is_told_and_changes_nothing(
    arguments: tuple[str, ...],
    sentence: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("load", "documented", "--database", database)
    before = query(database, "SELECT * FROM api_keys")
    assert fail(monkeypatch, capsys, "keys", *arguments, "--database", database) == (1, sentence)
    assert query(database, "SELECT * FROM api_keys") == before


def test_a_fresh_file_is_upgraded_and_then_as_expected(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(database.removeprefix("sqlite:///")).touch()
    code, told = fail(monkeypatch, capsys, "db", "check", "--database", database)
    assert (code, told) == (1, f"the schema is at None, not at {SCHEMA_REVISION}: run `cstar-mock db upgrade`")
    for _ in range(2):
        assert run("db", "upgrade", "--database", database).output == f"the schema is at {SCHEMA_REVISION}\n"
    checked = run("db", "check", "--database", database)
    assert checked.output == (
        f"the schema is at {SCHEMA_REVISION}, as expected; the roll-ups are what the rows add up to\n"
    )


def test_a_schema_made_by_the_first_load_is_as_expected(database: str) -> None:
    run("load", "empty", "--database", database)
    assert "as expected" in run("db", "check", "--database", database).output


def test_an_unknown_revision_is_told_by_every_command(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("db", "upgrade", "--database", database)
    query(database, "UPDATE alembic_version SET version_num = '9999'")
    code, told = fail(monkeypatch, capsys, "db", "check", "--database", database)
    assert code == 1
    assert told.startswith(f"the schema is at 9999, not at {SCHEMA_REVISION}")
    monkeypatch.setattr("cstar_mock.observability.logs.configure", lambda *_: None)
    for command in (["db", "upgrade"], ["keys", "revoke", "key_1"], ["load", "empty"], ["serve", "--port", "0"]):
        code, told = fail(monkeypatch, capsys, *command, "--database", database)
        assert (code, told) == (
            1,
            "the schema is at 9999, which this version does not know: a newer cstar-mock made it",
        )


def test_a_schema_that_differs_is_told(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("db", "upgrade", "--database", database)
    query(database, "ALTER TABLE teams ADD COLUMN colour VARCHAR(9)")
    code, told = fail(monkeypatch, capsys, "db", "check", "--database", database)
    assert code == 1
    assert told.startswith("the schema differs from what this version expects: ")
    assert "colour" in told


def test_the_openapi_document_is_the_served_one(tmp_path: Path) -> None:
    printed = run("openapi").output
    assert json.loads(printed) == create_app().openapi()
    file = tmp_path / "openapi.json"
    assert run("openapi", "--output", str(file)).output == ""
    assert file.read_text() == printed


@pytest.mark.newest("pydantic words the same schema differently from release to release")
def test_the_schema_of_data_sets_is_the_one_in_the_repository(tmp_path: Path) -> None:
    printed = run("schema").output
    assert json.loads(printed) == json.loads((ROOT / "seed" / "dataset.schema.json").read_text())
    file = tmp_path / "schema.json"
    assert run("schema", "--output", str(file)).output == ""
    assert file.read_text() == printed


@pytest.mark.parametrize("command", ["openapi", "schema"])
def test_a_file_that_can_not_be_written_is_told(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "nowhere" / "x.json"
    code, told = fail(monkeypatch, capsys, command, "--output", str(file))
    assert code == 1
    assert str(file) in told


def test_a_file_that_is_no_database_is_told_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Sir or Madam, " * 100)
    code, told = fail(monkeypatch, capsys, "load", "empty", "--database", f"sqlite:///{file}")
    assert (code, told) == (1, "the database is not a SQLite database: file is not a database")
    assert file.read_text() == "Dear Sir or Madam, " * 100


def test_a_database_that_can_not_be_reached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = fail(monkeypatch, capsys, "keys", "list", "--database", "postgresql://me:hush@127.0.0.1:1/x")
    assert code == 1
    assert told.startswith("the database can't be reached: ")
    assert "127.0.0.1" in told
    assert "hush" not in told


@pytest.mark.parametrize(
    ("package", "arguments", "sentence"),
    [
        (
            "psycopg",
            ("keys", "list", "--database", "postgresql://h/d"),
            "PostgreSQL needs the extra: pip install 'cstar-mock[postgresql]'",
        ),
        (
            "valkey",
            ("serve", "--port", "0", "--state", "valkey://h"),
            "a state in Valkey needs the extra: pip install 'cstar-mock[valkey]'",
        ),
    ],
)
def test_a_missing_driver_is_told_with_what_to_install(
    package: str,
    arguments: tuple[str, ...],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("cstar_mock.observability.logs.configure", lambda *_: None)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "cstar_mock.state.valkey", raising=False)
    # None would raise a ModuleNotFoundError too, but with other words than a package that is not there.
    monkeypatch.setattr(sys, "meta_path", [_Without(package), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=package):
        importlib.import_module(package)
    assert fail(monkeypatch, capsys, *arguments) == (1, sentence)


@dataclass
class _Without:
    """An import hook for which a package is not installed."""

    package: str

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_module_of_ours_that_is_missing_is_not_taken_for_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cstar_mock.teams.keys", None)
    monkeypatch.delattr("cstar_mock.teams.keys", raising=False)
    result = cli_runner().invoke(cli.cli, ["keys", "list", "--database", "sqlite://"])
    assert isinstance(result.exception, ImportError)


def test_the_environment_stands_in_for_options(database: str) -> None:
    run("load", "documented", CSTAR_MOCK_DATABASE=database)
    assert query(database, "SELECT slug FROM teams ORDER BY slug") == [(slug,) for slug in ACME]
    assert run("keys", "list", CSTAR_MOCK_DATABASE=database).output.count("acme-neighbour") == 5
    with_meta = run("openapi", CSTAR_MOCK_SUCCESS_META="on").output
    assert with_meta != run("openapi").output


def test_an_option_wins_over_the_environment(database: str) -> None:
    run("load", "empty", "--database", database, CSTAR_MOCK_DATABASE="nonsense")
    assert query(database, "SELECT count(*) FROM teams") == [(1,)]


def test_a_mistyped_variable_is_told(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CSTAR_MOCK_DATABAS", database)
    code, told = fail(monkeypatch, capsys, "openapi")
    assert code == 1
    assert "did you mean CSTAR_MOCK_DATABASE?" in told


def test_a_fault_of_ours_is_not_hidden(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    run("db", "upgrade", "--database", database)
    monkeypatch.setattr("cstar_mock.teams.keys.list_", broken)
    result = cli_runner().invoke(cli.cli, ["keys", "list", "--database", database])
    assert isinstance(result.exception, RuntimeError)


def test_an_interrupted_command_ends_with_130(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run("db", "upgrade", "--database", database)
    monkeypatch.setattr("cstar_mock.teams.keys.list_", interrupted)
    monkeypatch.setattr(sys, "argv", ["cstar-mock", "keys", "list", "--database", database])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    assert exited.value.code == 130


def test_a_long_load_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    instants = iter([0.0, 1.9, 2.0, 3.9, 4.1])
    monkeypatch.setattr(store, "time", SimpleNamespace(monotonic=lambda: next(instants)))
    progress = store._Progress()  # noqa: SLF001
    for rows in (10, 2000):
        progress(rows)
    assert capsys.readouterr().err == "2,000 rows …\n"


def test_the_announcement_has_what_a_developer_needs_next() -> None:
    keys = {"sk_live": "sk_live_a", "sk_test": "sk_test_a", "pk_live": "pk_live_a", "pk_test": None}
    team = LoadedTeam("id-1", "acme", "Acme", "documented", keys, {}, created=True)
    printed = "\n".join(
        serving.announcement_lines(Announcement("http://h:1", [team], SecretStr("t0ken"), control=True))
    )
    assert "http://h:1/__admin, token t0ken" in printed
    assert "http://h:1/docs" in printed
    assert "team acme (documented): id-1" in printed
    assert "sk_live_a" in printed
    assert "pk_test  made at its first load, shown only then" in printed
    assert "http://h:1/api/v1/teams/id-1/analytics/overview?period=week" in printed


def test_the_announcement_of_an_empty_server_says_how_to_fill_it() -> None:
    printed = "\n".join(serving.announcement_lines(Announcement("http://h:1", [], None, control=True)))
    assert "--dataset documented" in printed
    assert "curl" not in printed


def test_roll_ups_that_differ_from_the_rows_are_found_and_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "some.db"
    database = f"sqlite:///{file}"
    run("load", "documented", "--database", database)
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM csat_responses WHERE score = 5")
    connection.close()
    exit_code, said = fail(monkeypatch, capsys, "db", "check", "--database", database)
    assert exit_code == 1
    assert "member_totals: " in said
    assert "run `cstar-mock db check --rebuild`" in said
    assert "were rebuilt" in run("db", "check", "--rebuild", "--database", database).output
    assert "are what the rows add up to" in run("db", "check", "--database", database).output
