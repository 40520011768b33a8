"""The migrations make the schema that the models describe, on both engines, and take it away again."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text
from tests.conftest import ROOT, cli_runner

from cstar_mock import cli
from cstar_mock.datasets.format import parse
from cstar_mock.store import migrations, package_data, rollups
from cstar_mock.store.database import Database
from cstar_mock.store.migrations import SCHEMA_REVISION, SchemaOutdated, SchemaUnknown, schema_revision
from cstar_mock.store.models import Base
from cstar_mock.teams.load import load

TABLES = {
    "teams",
    "api_keys",
    "members",
    "customers",
    "tickets",
    "csat_responses",
    "rollups",
    "member_totals",
    "newest_tickets",
}
SECOND_MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("teams", sa.Column("colour", sa.String(length=9)))
"""

MakeDatabase = Callable[[], Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeDatabase]:
    """Make empty databases, each its own file, or its own database in a real PostgreSQL."""
    opened: list[Database] = []
    if request.param == "sqlite":

        def make() -> Database:
            opened.append(Database(f"sqlite:///{tmp_path / uuid.uuid4().hex}.db"))
            return opened[-1]

        yield make
        for one in opened:
            one.close()
        return
    admin = create_engine(request.getfixturevalue("postgresql"), isolation_level="AUTOCOMMIT")

    def make_in_postgresql() -> Database:
        name = f"migrations_{uuid.uuid4().hex}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        opened.append(Database(admin.url.set(database=name).render_as_string(hide_password=False)))
        return opened[-1]

    yield make_in_postgresql
    for one in opened:
        one.close()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {one.url.database} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite file."""
    one = Database(f"sqlite:///{tmp_path / 'some.db'}")
    yield one
    one.close()


def url(one: Database) -> str:
    """Return the URL that the command line takes."""
    return one.url.render_as_string(hide_password=False)


def tables(connection: Connection) -> set[str]:
    """Return the names of the tables, except Alembic's own."""
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def everything(connection: Connection) -> dict[str, Any]:
    """Return all that a database knows of its tables, in an order that does not depend on who made them."""
    inspector = inspect(connection)

    def in_order(found: Any) -> list[str]:
        return sorted(repr(sorted(one.items(), key=lambda item: str(item[0]))) for one in found)

    return {
        name: {
            "columns": [
                (one["name"], str(one["type"]), one["nullable"], one["default"]) for one in inspector.get_columns(name)
            ],
            "primary key": inspector.get_pk_constraint(name),
            "foreign keys": in_order(inspector.get_foreign_keys(name)),
            "unique": in_order(inspector.get_unique_constraints(name)),
            "checks": in_order(inspector.get_check_constraints(name)),
            "indexes": in_order(inspector.get_indexes(name)),
        }
        for name in inspector.get_table_names()
    }


def downgrade(connection: Connection) -> None:
    """Take every migration back."""
    command.downgrade(migrations.config(connection), "base")


def test_the_migrations_make_what_the_models_describe(make_database: MakeDatabase) -> None:
    store = make_database()
    migrations.upgrade(store)
    assert store.read_now(migrations.differences) == []
    assert store.read_now(schema_revision) == SCHEMA_REVISION
    assert store.read_now(tables) == TABLES


def test_the_migrations_can_be_taken_back_and_applied_again(make_database: MakeDatabase) -> None:
    store = make_database()
    migrations.upgrade(store)
    before = store.read_now(everything)
    store.write_now(downgrade)
    assert store.read_now(tables) == set()
    assert store.read_now(schema_revision) is None
    migrations.upgrade(store)
    assert store.read_now(everything) == before


def test_a_second_upgrade_changes_nothing(make_database: MakeDatabase) -> None:
    store = make_database()
    migrations.upgrade(store)
    before = store.read_now(everything)
    migrations.upgrade(store)
    assert store.read_now(everything) == before


def test_models_and_migrations_agree_in_every_constraint_and_index(make_database: MakeDatabase) -> None:
    migrated, modelled = make_database(), make_database()
    migrations.upgrade(migrated)
    modelled.write_now(Base.metadata.create_all)
    wanted = migrated.read_now(everything)
    wanted.pop("alembic_version")
    assert modelled.read_now(everything) == wanted
    assert all(wanted["tickets"][part] for part in ("primary key", "foreign keys", "checks", "indexes"))
    assert len(wanted["tickets"]["checks"]) == 6
    assert wanted["teams"]["unique"]


def test_a_prepared_file_is_as_a_migrated_one(tmp_path: Path) -> None:
    prepared, migrated = Database(f"sqlite:///{tmp_path / 'a.db'}"), Database(f"sqlite:///{tmp_path / 'b.db'}")
    try:
        migrations.prepare(prepared)
        migrations.upgrade(migrated)
        assert prepared.read_now(everything) == migrated.read_now(everything)
        assert prepared.read_now(schema_revision) == migrated.read_now(schema_revision)
        assert prepared.read_now(migrations.differences) == []
    finally:
        prepared.close()
        migrated.close()


def test_a_difference_is_seen(make_database: MakeDatabase) -> None:
    """Without this, the tests above could pass because nothing is compared."""
    store = make_database()
    migrations.upgrade(store)
    before = store.read_now(everything)
    store.write_now(
        lambda connection: connection.execute(text("DROP INDEX ix_tickets_team_id_environment_resolved_at"))
    )
    assert "ix_tickets_team_id_environment_resolved_at" in str(store.read_now(migrations.differences))
    assert store.read_now(everything) != before


def test_the_newest_revision_is_the_one_that_the_code_expects(file: Database) -> None:
    script = ScriptDirectory.from_config(file.read_now(migrations.config))
    assert script.get_heads() == [SCHEMA_REVISION]


def test_an_older_file_is_upgraded_and_keeps_its_rows(
    file: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = cli_runner().invoke(cli.cli, ["load", "documented", "--database", url(file)])
    assert loaded.exit_code == 0, loaded.output
    newer = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", newer, ignore=shutil.ignore_patterns("__pycache__"))
    (newer / "versions" / "9998_second.py").write_text(SECOND_MIGRATION)
    monkeypatch.setattr(package_data, "folder", lambda _name: newer)
    monkeypatch.setattr(migrations, "SCHEMA_REVISION", "9998")
    migrations.prepare(file)
    assert file.read_now(schema_revision) == "9998"
    columns = file.read_now(lambda connection: inspect(connection).get_columns("teams"))
    assert "colour" in [column["name"] for column in columns]
    slugs = file.read_now(lambda connection: connection.execute(text("SELECT slug FROM teams")).scalars().all())
    assert sorted(slugs) == ["acme", "acme-neighbour"]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_roll_ups_of_an_older_schema_are_computed_anew(make_database: MakeDatabase, revision: str) -> None:
    """Their buckets had another width: kept as they are, they would give wrong figures."""
    store = make_database()
    migrations.upgrade(store)
    store.write_now(load, parse({"dataset": "a", "teams": [{"slug": "a", "live": {"recipes": [{"tickets": 600}]}}]}))
    store.write_now(lambda connection: connection.execute(text("UPDATE rollups SET width = width - 1")))
    assert store.read_now(rollups.differences) != []
    store.write_now(lambda connection: command.downgrade(migrations.config(connection), revision))
    migrations.upgrade(store)
    assert store.read_now(rollups.differences) == []


def test_a_file_of_a_newer_version_is_refused_and_left_alone(file: Database) -> None:
    migrations.prepare(file)
    file.write_now(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    before = file.read_now(everything)
    with pytest.raises(SchemaUnknown, match="9999"):
        migrations.prepare(file)
    assert file.read_now(schema_revision) == "9999"
    assert file.read_now(everything) == before
    result = cli_runner().invoke(cli.cli, ["keys", "list", "--database", url(file)])
    assert result.exit_code == 1
    assert result.output == (
        "Error: the schema is at 9999, which this version does not know: a newer cstar-mock made it\n"
    )


@pytest.mark.parametrize("make_database", ["postgresql"], indirect=True)
def test_postgresql_is_migrated_by_its_owner_only(make_database: MakeDatabase) -> None:
    store = make_database()
    with pytest.raises(SchemaOutdated, match="no schema yet"):
        migrations.prepare(store)
    assert store.read_now(tables) == set()
    refused = cli_runner().invoke(cli.cli, ["load", "documented", "--database", url(store)])
    assert refused.exit_code == 1
    assert refused.output == "Error: the database has no schema yet: run `cstar-mock db upgrade`\n"
    for arguments in (["db", "upgrade"], ["db", "check"], ["load", "documented"]):
        result = cli_runner().invoke(cli.cli, [*arguments, "--database", url(store)])
        assert result.exit_code == 0, result.output
    migrations.prepare(store)
    store.write_now(lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '0000'")))
    with pytest.raises(SchemaOutdated, match="the schema is at 0000"):
        migrations.prepare(store)
