"""The schema's history, by Alembic; imported only where a schema is upgraded or compared."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection, func, select

from cstar_mock import rollups, shipped, teams
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.database import Database, SchemaUnknown, schema_revision
from cstar_mock.models import Base, Scope

_UPGRADE_LOCK = 0x6353746172  # "cStar"


def upgrade(database: Database) -> None:
    """Apply every migration that the database does not have yet, and then compute the roll-ups anew.

    Raises:
        SchemaUnknown: a newer version made the schema.
    """
    try:
        database.write_now(_upgrade)
    except CommandError:
        raise SchemaUnknown(database.read_now(schema_revision)) from None


def differences(connection: Connection) -> list[str]:
    """Return what the database's schema lacks or has too much, compared with the models."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [str(difference) for difference in compare_metadata(context, Base.metadata)]


def config(connection: Connection) -> Config:
    """Return Alembic's configuration for a connection."""
    configuration = Config()
    configuration.set_main_option("script_location", str(shipped.folder("migrations")))
    configuration.attributes["connection"] = connection
    return configuration


def rebuild_rollups(connection: Connection) -> None:
    """Compute all roll-ups anew from the rows, while nobody else writes to a team."""
    for team_id in sorted(teams.lock_all(connection)):
        for environment in Environment:
            rollups.rebuild(connection, Scope(team_id, environment.value))


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Two that begin at once would both find no schema, and both create it. SQLite's writers have its one lock.
        connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
    before = schema_revision(connection)
    command.upgrade(config(connection), "head")
    if schema_revision(connection) != before:
        rebuild_rollups(connection)
