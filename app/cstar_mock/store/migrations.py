"""The schema: creating it, upgrading it, and comparing it with the models.

Alembic is imported where a schema is upgraded or compared: it would double the time of a start.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, inspect, select, text, update

from cstar_mock.contract.vocabulary import Environment
from cstar_mock.store import package_data, rollups
from cstar_mock.store.database import Database
from cstar_mock.store.models import Base, Scope, Team

if TYPE_CHECKING:
    from alembic.config import Config

SCHEMA_REVISION = "0003"
"""The newest migration; a test compares it with `migrations/`."""

_UPGRADE_LOCK = 0x6353746172  # "cStar"


class SchemaUnknown(ValueError):
    """The database's schema is at a migration that this version does not have."""

    def __init__(self, revision: str | None) -> None:
        super().__init__(f"the schema is at {revision}, which this version does not know: a newer cstar-mock made it")


class SchemaOutdated(Exception):
    """The database has no schema, or not the newest; `cstar-mock db upgrade` brings it up to date."""


def prepare(database: Database) -> None:
    """Create the schema of an empty embedded database, and bring an older one up to date.

    A new schema is created from the models.

    Raises:
        SchemaOutdated: a PostgreSQL database is not up to date; its owner decides when to migrate it.
        SchemaUnknown: a newer version made the schema.
        StoreUnavailable: the database can't be reached.
    """
    if not database.embedded:
        check(database)
        return
    revision = database.read_now(schema_revision)
    if revision is None:
        database.write_now(_create_schema)  # or find that another process has
    elif revision != SCHEMA_REVISION:
        upgrade(database)


def check(database: Database) -> None:
    """Check that the schema is up to date, and change nothing.

    Raises:
        SchemaOutdated: it is older.
        SchemaUnknown: it is newer.
        StoreUnavailable: the database can't be reached.
    """
    revision = database.read_now(schema_revision)
    if revision is not None and revision > SCHEMA_REVISION:
        raise SchemaUnknown(revision)
    if revision != SCHEMA_REVISION:
        raise SchemaOutdated("the database has no schema yet" if revision is None else f"the schema is at {revision}")


def schema_revision(connection: Connection) -> str | None:
    """Return the migration that the schema is at, or None if there is no schema."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def upgrade(database: Database) -> None:
    """Apply every migration that the database does not have yet, and then rebuild the roll-ups.

    Raises:
        SchemaUnknown: a newer version made the schema.
    """
    from alembic.util.exc import CommandError  # noqa: PLC0415

    try:
        database.write_now(_upgrade)
    except CommandError:
        raise SchemaUnknown(database.read_now(schema_revision)) from None


def differences(connection: Connection) -> list[str]:
    """Return the differences between the database's schema and the models."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [str(difference) for difference in compare_metadata(context, Base.metadata)]


def config(connection: Connection) -> "Config":
    """Return Alembic's configuration for a connection."""
    from alembic.config import Config  # noqa: PLC0415

    configuration = Config()
    configuration.set_main_option("script_location", str(package_data.folder("migrations")))
    configuration.attributes["connection"] = connection
    return configuration


def rebuild_rollups(connection: Connection) -> None:
    """Rebuild all roll-ups from the rows, while no one else writes to a team."""
    for team_id in sorted(lock_all_teams(connection)):
        for environment in Environment:
            rollups.rebuild(connection, Scope(team_id, environment.value))


def lock_all_teams(connection: Connection) -> list[str]:
    """Lock all teams, increment their revisions, and return their ids: the beginning of a write to all of them.

    A team that was created or replaced while this writer waited is not among them.
    """
    return list(connection.scalars(update(Team).values(revision=Team.revision + 1).returning(Team.id)))


def _create_schema(connection: Connection) -> None:
    if schema_revision(connection) is not None:
        return
    Base.metadata.create_all(connection)
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": SCHEMA_REVISION})


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        # Two that begin at once would both find no schema, and both create it. SQLite's writers have its one lock.
        connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
    before = schema_revision(connection)
    command.upgrade(config(connection), "head")
    if schema_revision(connection) != before:
        rebuild_rollups(connection)
