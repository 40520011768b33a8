"""The schema's history, by Alembic; imported only where a schema is upgraded or compared."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from cstar_mock import rollups, shipped
from cstar_mock.database import Database, schema_revision
from cstar_mock.models import Base


class SchemaUnknown(ValueError):
    """The database's schema is at a migration that this version does not have."""


def upgrade(database: Database) -> None:
    """Apply every migration that the database does not have yet, and then compute the roll-ups anew.

    Raises:
        SchemaUnknown: a newer version made the schema.
    """
    try:
        database.write_now(_upgrade)
    except CommandError:
        revision = database.read_now(schema_revision)
        raise SchemaUnknown(
            f"the schema is at {revision}, which this version does not know: a newer cstar-mock made it"
        ) from None


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


def _upgrade(connection: Connection) -> None:
    before = schema_revision(connection)
    command.upgrade(config(connection), "head")
    if schema_revision(connection) != before:
        rollups.rebuild(connection)
