"""The commands for a database: load and generate rows, keys, the schema."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cstar_mock import bounds
from cstar_mock.cli.failures import told_in_one_line
from cstar_mock.cli.options import Group, command_variables

if TYPE_CHECKING:
    from cstar_mock.store.database import Database
    from cstar_mock.teams.lifecycle import LoadedTeam

_SEED = click.IntRange(-bounds.LARGEST_SEED, bounds.LARGEST_SEED)
_LIMIT = click.IntRange(1, bounds.LARGEST_RATE_LIMIT)
_DATABASE = click.option(
    "--database",
    envvar="CSTAR_MOCK_DATABASE",
    required=True,
    metavar="URL",
    help="sqlite:///FILE or postgresql://USER@HOST/NAME [CSTAR_MOCK_DATABASE]",
)


@click.command()
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...")
@_DATABASE
@click.option("--replace", is_flag=True, help="Put the data set in the place of the teams of that name.")
def load(datasets: tuple[str, ...], database: str, replace: bool) -> None:
    """Load data sets, each whole or not at all; a second load changes nothing.

    DATASET is the name of a shipped one (documented, empty, edge, busy) or the path of a YAML file.
    """
    from cstar_mock.teams.load import load_datasets

    with _opened(database, create=True) as store:
        _show_teams(load_datasets(store, datasets, replace=replace, progress=_Progress()))


@click.command()
@click.option("--tickets", type=click.IntRange(1, bounds.MOST_RECIPE_ROWS), required=True, help="How many tickets.")
@click.option(
    "--seed",
    type=_SEED,
    default=1,
    show_default=True,
    help="The same seed makes the same rows.",
)
@click.option("--slug", default="generated", show_default=True, help="The new team's slug.")
@click.option("--clock", metavar="TIME", help="Stop the team's clock here, so that the rows never age.")
@click.option("--replace", is_flag=True, help="Put the rows in the place of the team of that name.")
@_DATABASE
def generate(tickets: int, seed: int, slug: str, clock: str | None, replace: bool, database: str) -> None:
    """Make a team with any number of tickets, spread over a quarter as a support desk sees them."""
    from cstar_mock.datasets.format import parse
    from cstar_mock.datasets.problems import DatasetError
    from cstar_mock.teams.load import load as load_dataset

    team = {"slug": slug, "clock": clock, "live": {"recipes": [{"tickets": tickets, "seed": seed}]}}
    with _opened(database, create=True) as store:
        try:
            dataset = parse({"dataset": "generated", "teams": [team]})
            _show_teams(store.write_now(load_dataset, dataset, replace=replace, progress=_Progress()))
        except DatasetError as error:
            # There is no file whose line and field could be named.
            raise click.ClickException(error.problems[0].message) from None


@click.group(cls=Group)
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command("create")
@click.option("--team", required=True, metavar="SLUG|ID", help="Whose key.")
@click.option("--type", "prefix", type=click.Choice(["sk_live", "sk_test", "pk_live", "pk_test"]), required=True)
@click.option("--rate-limit", type=_LIMIT, help="The key's own limit, in requests a window.")
@click.option("--expires", metavar="TIME", help="When it expires, by the team's clock: +30d or ISO 8601.")
@_DATABASE
def create_key(team: str, prefix: str, rate_limit: int | None, expires: str | None, database: str) -> None:
    """Create a key, and print it: this is the only time that it is shown."""
    from cstar_mock.teams import keys as service

    with _opened(database) as store:
        click.echo(store.write_now(service.create, team, prefix, rate_limit=rate_limit, expires=expires))


@keys.command("list")
@click.option("--team", metavar="SLUG|ID", help="Whose keys; by default every team's.")
@_DATABASE
def list_keys(team: str | None, database: str) -> None:
    """List keys by id and last four characters: the server stores no more of them."""
    from cstar_mock.store import migrations
    from cstar_mock.teams import keys as service

    with _opened(database, prepare=False) as store:
        migrations.check(store)
        for key in store.read_now(service.list_, team):
            click.echo(f"{key.id}  {key.prefix}_…{key.last_four}  {key.team_slug}  {key.state}")


@keys.command("revoke")
@click.argument("key_id")
@_DATABASE
def revoke_key(key_id: str, database: str) -> None:
    """Revoke a key by its id, as `keys list` prints it."""
    from cstar_mock.teams import keys as service

    with _opened(database) as store:
        store.write_now(service.revoke, key_id)
        click.echo(f"revoked {key_id}")


@click.group(cls=Group)
def db() -> None:
    """Upgrade and check the schema of a database."""


@db.command("upgrade")
@_DATABASE
def upgrade_database(database: str) -> None:
    """Bring the schema up to date."""
    from cstar_mock.store import migrations

    with _opened(database, create=True, prepare=False) as store:
        migrations.upgrade(store)
        click.echo(f"the schema is at {migrations.SCHEMA_REVISION}")


@db.command("check")
@click.option("--rebuild", is_flag=True, help="Rebuild the roll-ups from the rows, if the schema is right.")
@_DATABASE
def check_database(rebuild: bool, database: str) -> None:
    """Fail unless the schema is what this version expects, and the roll-ups are what the rows add up to."""
    from cstar_mock.store import migrations, rollups

    with _opened(database, prepare=False) as store:
        revision = store.read_now(migrations.schema_revision)
        differences = store.read_now(migrations.differences) if revision == migrations.SCHEMA_REVISION else []
        if revision != migrations.SCHEMA_REVISION:
            raise click.ClickException(
                f"the schema is at {revision}, not at {migrations.SCHEMA_REVISION}: run `cstar-mock db upgrade`"
            )
        if differences:
            raise click.ClickException(f"the schema differs from what this version expects: {'; '.join(differences)}")
        if rebuild:
            store.write_now(migrations.rebuild_rollups)
        elif wrong := store.read_now(rollups.differences):
            raise click.ClickException(f"{'; '.join(wrong)}: run `cstar-mock db check --rebuild`")
        done = "were rebuilt" if rebuild else "are what the rows add up to"
        click.echo(f"the schema is at {migrations.SCHEMA_REVISION}, as expected; the roll-ups {done}")


@contextmanager
def _opened(url: str, *, create: bool = False, prepare: bool = True) -> Iterator["Database"]:
    """Open a database, and close it; failures are reported in one line.

    Args:
        url: where it is.
        create: whether a SQLite file that is missing is created.
        prepare: whether its schema is created or brought up to date.
    """
    from cstar_mock import settings
    from cstar_mock.store import migrations
    from cstar_mock.store.database import Database

    with told_in_one_line():
        chosen = settings.load(other_variables=command_variables(), database=url)
        if chosen.in_memory:
            raise click.ClickException("--database: in memory, all would be lost at once; give sqlite:///FILE")
        database = Database(chosen.database)
        file = database.url.database or ""
        if database.embedded and not create and not file.startswith("file:") and not Path(file).exists():
            raise click.ClickException(f"there is no database file {file}")
        try:
            if prepare:
                migrations.prepare(database)
            yield database
        finally:
            database.close()


class _Progress:
    """Reports the number of inserted rows on standard error, every two seconds of a long load."""

    def __init__(self) -> None:
        self.said = time.monotonic()

    def __call__(self, rows: int) -> None:
        if time.monotonic() - self.said >= 2:  # noqa: PLR2004
            self.said = time.monotonic()
            click.echo(f"{rows:,} rows …", err=True)


def _show_teams(teams: "list[LoadedTeam]") -> None:
    for team in teams:
        click.echo(f"{'loaded' if team.created else 'unchanged'}  {team.slug}  {team.id}")
        for prefix, key in team.keys.items():
            if team.created or key:
                click.echo(f"  {prefix}  {key}")
