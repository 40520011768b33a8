"""The command line.

Everything slow is imported inside the commands, so that `--help` and a mistyped option answer at once.
"""

import atexit
import gc
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cstar_mock import VERSION, bounds
from cstar_mock.contract.redaction import printable, shortened

_MOST_SHOWN = 10
"""Teams whose slugs are shown at the start."""

ENV_PREFIX = "CSTAR_MOCK_"
"""What every variable begins with; `settings` has the same, and is slow to import."""

_STDOUT = 1

_OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""New objects until garbage is looked for. Imports make many that stay: with Python's default, a sixth of a start was
spent on looking through them again and again."""

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from cstar_mock.serving.server import Announcement
    from cstar_mock.store.database import Database
    from cstar_mock.teams.lifecycle import LoadedTeam


class _Group(click.Group):
    """Shows its help where a command is missing, and each command's whole summary."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        # A summary that is derived from the help is cut off with "...".
        cmd.short_help = cmd.short_help or " ".join((cmd.help or "").split("\n\n")[0].split())
        super().add_command(cmd, name)


class _ServeCommand(click.Command):
    """Has one option for each setting; they are made when the command is used.

    Attributes:
        defaults: defaults of this command that are not those of the settings; None for an option that it doesn't have.
    """

    defaults: Mapping[str, str | None] = {}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        from cstar_mock.settings import Settings

        if not any(isinstance(parameter, click.Option) for parameter in self.params):
            fields = Settings.model_fields.items()
            options = [_option(name, field, self.defaults.get(name, field.default)) for name, field in fields]
            for option in options:
                option.hidden = option.name in self.defaults and self.defaults[option.name] is None
            self.params = [*options, *self.params]
        return super().get_params(ctx)


class _ExecCommand(_ServeCommand):
    defaults = {"port": "a free one", "log_level": "warning", "ready_file": None, "exit_on_stdin_eof": None}  # noqa: RUF012


def _option(name: str, field: "FieldInfo", default: object) -> click.Option:
    """Return the option of a setting. Values are checked by the settings, as those of the environment are."""
    flag = f"--{name.replace('_', '-')}"
    variable = ENV_PREFIX + name.upper()
    shown = f"{field.description} [{variable}"
    if default not in (None, ()):
        shown += f"; default: {('off', 'on')[bool(default)] if field.annotation is bool else default}"
    shown += "]"
    # A variable named after the command, which click would read too, may be a service link of Kubernetes.
    if field.annotation is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=shown, allow_from_autoenv=False)
    return click.Option(
        [flag],
        default=None,
        multiple=name == "dataset",
        metavar=_metavar(field),
        help=shown,
        allow_from_autoenv=False,
    )


def _metavar(field: "FieldInfo") -> str:
    """Return the values that an option takes: `text|json`, `0..65535`."""
    if isinstance(field.annotation, type) and issubclass(field.annotation, Enum):
        return "|".join(field.annotation)
    least = next((str(bound.ge) for bound in field.metadata if hasattr(bound, "ge")), None)
    most = next((str(bound.le) for bound in field.metadata if hasattr(bound, "le")), "")
    return "VALUE" if least is None else f"{least}..{most}"


def main() -> None:
    """Run the command line; a failure is one line on standard error and a non-zero exit code."""
    _open_standard_streams()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    try:
        status = cli.main(prog_name="cstar-mock", standalone_mode=False)
    except click.ClickException as error:
        message = "\n".join(shortened(printable(line)) for line in error.format_message().split("\n"))
        click.echo(f"cstar-mock: {message}", err=True)
        status = error.exit_code
    except click.Abort:
        status = 130
    except OSError as error:  # from printing: what a command meets itself is a ClickException
        if not isinstance(error, BrokenPipeError):
            click.echo(f"cstar-mock: can't print: {error.strerror}", err=True)
        # Otherwise Python would print the rest of the buffer at the end of the process, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
        status = 1
    sys.exit(status)


def _open_standard_streams() -> None:
    """Open the standard streams that are closed, and let those that can't show a character escape it.

    Otherwise the next file or socket would get the number of a closed stream, and all that is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@click.group(
    cls=_Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "auto_envvar_prefix": ENV_PREFIX.rstrip("_"),
        "show_default": True,
    },
)
@click.version_option(VERSION, prog_name="cstar-mock")
def cli() -> None:
    """CStar's Analytics API on your machine: exact answers, computed from real rows."""


@cli.command(cls=_ServeCommand)
def serve(**options: Any) -> None:
    """Serve the API. Without options: the documented data set, in memory, on 127.0.0.1:27827."""
    from cstar_mock import settings
    from cstar_mock.serving import server, server_process

    given = {name: value for name, value in options.items() if value not in (None, ())}
    with _told_in_one_line():
        chosen = settings.load(other_variables=_command_variables(), **given)
        if chosen.exit_on_stdin_eof:
            server_process.end_when_alone()
        server.serve(chosen, _announce)


# The options end with the first word of the command, which has options of its own.
@cli.command(cls=_ExecCommand, name="exec", context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND with a server around it, on a free port.

    The command finds CSTAR_BASE_URL, CSTAR_TEAM_ID, CSTAR_API_KEY, CSTAR_PUBLISHABLE_KEY and CSTAR_ADMIN_URL in its
    environment. Signals are passed on to it, and its exit code is returned.
    """
    from cstar_mock import settings
    from cstar_mock.serving import execute as runner
    from cstar_mock.serving.server_process import NotStarted

    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "ready_file" in given:
        raise click.UsageError("--ready-file: exec tells its command where the server is by environment variables")
    with _told_in_one_line():
        settings.load(other_variables=_command_variables(), **given)
        try:
            sys.exit(runner.execute(command, _as_options(given)))
        except runner.CommandNotRun as error:
            click.echo(f"cstar-mock: {error}", err=True)
            sys.exit(error.exit_code)
        except NotStarted as error:
            if error.exit_code is None:
                raise
            sys.exit(error.exit_code)  # the server has said why


def _as_options(given: dict[str, Any]) -> list[str]:
    """Return settings as they are written on the command line."""
    options = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            options.append(flag if value else f"--no-{flag[2:]}")
        else:
            for one in value if isinstance(value, tuple) else (value,):
                options += [flag, str(one)]
    return options


def _announce(announcement: "Announcement") -> None:
    _print_in_background(announcement_lines(announcement))


def announcement_lines(announcement: "Announcement") -> list[str]:
    """Return what a developer needs next: the URL, the team ids, the keys, and a command to paste."""
    url, teams = announcement.url, announcement.teams
    lines = [f"cstar-mock {VERSION} serves {url} (docs: {url}/docs)"]
    if announcement.control_token is not None and announcement.control:
        # One that was set is known already, and need not get into the log of a container.
        token = "as it was set" if announcement.is_token_set else announcement.control_token.get_secret_value()
        lines.append(f"control API: {url}/__admin, token {token}")
    if not teams:
        lines.append(_what_is_there(announcement.present))
    for team in teams:
        lines += ["", f"  team {team.slug} ({team.dataset}): {team.id}"]
        lines += [
            f"    {prefix}  {key or 'made at its first load, shown only then'}" for prefix, key in team.keys.items()
        ]
    if teams and teams[0].keys["sk_live"]:
        lines += ["", "  Try it:", curl(url, teams[0])]
    return [*lines, ""]


def _print_in_background(lines: list[str]) -> None:
    """Print lines though nobody may read them: requests are answered at the same time."""
    from cstar_mock.observability.background_writer import BackgroundWriter

    writer = BackgroundWriter(_STDOUT, lambda count: b"(%d lines were dropped)\n" % count)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for line in lines:
        writer.write(f"{printable(line)}\n".encode(encoding, "backslashreplace"), urgent=True)
    atexit.register(writer.flush, bounds.LOG_EXIT_SECONDS)


def _what_is_there(slugs: Sequence[str]) -> str:
    """Say what a server that loaded nothing serves."""
    if not slugs:
        return "The database has no teams; `--dataset documented` loads the documented one."
    some = ", ".join(slugs[:_MOST_SHOWN]) + (", …" if len(slugs) > _MOST_SHOWN else "")
    count = "1 team" if len(slugs) == 1 else f"{len(slugs):,} teams"
    return f"The database has {count}: {some}. `cstar-mock keys create` makes a key."


def curl(url: str, team: "LoadedTeam") -> str:
    """Return a command to paste."""
    overview = f"{url}/api/v1/teams/{team.id}/analytics/overview?period=week"
    return f'  curl -H "Authorization: Bearer {team.keys["sk_live"]}" "{overview}"'


def _command_variables() -> list[str]:
    """Return the variables of the commands' own options: `CSTAR_MOCK_GENERATE_TICKETS`, …."""
    variables: list[str] = []
    pending: list[tuple[str, click.Command]] = [(ENV_PREFIX.rstrip("_"), cli)]
    while pending:
        prefix, command = pending.pop()
        variables += [
            f"{prefix}_{option.name}".upper()
            for option in command.params
            if isinstance(option, click.Option) and option.allow_from_autoenv
        ]
        if isinstance(command, click.Group):
            pending += [(f"{prefix}_{name}", sub) for name, sub in command.commands.items()]
    return variables


_SEED = click.IntRange(-bounds.LARGEST_SEED, bounds.LARGEST_SEED)
_LIMIT = click.IntRange(1, bounds.LARGEST_RATE_LIMIT)
_DATABASE = click.option(
    "--database",
    envvar="CSTAR_MOCK_DATABASE",
    required=True,
    metavar="URL",
    help="sqlite:///FILE or postgresql://USER@HOST/NAME [CSTAR_MOCK_DATABASE]",
)


@cli.command()
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


@cli.command()
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


@cli.group(cls=_Group)
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
    """List keys by id and last four characters: more of them is not known."""
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


@cli.group(cls=_Group)
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
@click.option("--rebuild", is_flag=True, help="Compute the roll-ups anew from the rows, if the schema is right.")
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
        done = "were computed anew" if rebuild else "are what the rows add up to"
        click.echo(f"the schema is at {migrations.SCHEMA_REVISION}, as expected; the roll-ups {done}")


@cli.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def openapi(output: Path | None) -> None:
    """Print the OpenAPI document, as served at /openapi.json."""
    from cstar_mock import create_app, settings

    with _told_in_one_line():
        _print_json(create_app(settings.load(other_variables=_command_variables())).openapi(), output)


@cli.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of data set files."""
    from cstar_mock.datasets.format import json_schema

    with _told_in_one_line():
        _print_json(json_schema(), output)


def _print_json(document: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    """Turn the failures that a user can mend into one line on standard error and the exit code 1."""
    try:
        yield
    except (click.ClickException, BrokenPipeError):
        raise
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        raise click.ClickException(sentence) from None


_EXTRAS = {
    "psycopg": "PostgreSQL needs the extra: pip install 'cstar-mock[postgresql]'",
    "valkey": "a state in Valkey needs the extra: pip install 'cstar-mock[valkey]'",
}


def _sentence(error: Exception) -> str | None:
    """Return what to tell a user about an error, or None if it is a fault of ours."""
    from cstar_mock.contract.errors import StateUnavailable, StoreUnavailable, UnknownName
    from cstar_mock.serving.listener import CannotListen
    from cstar_mock.serving.server_process import NotStarted
    from cstar_mock.store.engine_errors import StoreConflict
    from cstar_mock.store.migrations import SchemaOutdated

    if isinstance(error, SchemaOutdated):
        return f"{error}: run `cstar-mock db upgrade`"
    if isinstance(error, StoreUnavailable):
        return f"the database {error.problem}: {error.reason}"
    if isinstance(error, StateUnavailable):
        return f"{error.sentence}: {error.reason}"
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return _EXTRAS[error.name]
    if isinstance(error, ValueError | OSError | CannotListen | NotStarted | StoreConflict | UnknownName):
        return str(error)
    return None


@contextmanager
def _opened(url: str, *, create: bool = False, prepare: bool = True) -> Iterator["Database"]:
    """Open a database, and close it; failures are told in one line.

    Args:
        url: where it is.
        create: whether a SQLite file that is missing is created.
        prepare: whether its schema is created or brought up to date.
    """
    from cstar_mock import settings
    from cstar_mock.store import migrations
    from cstar_mock.store.database import Database

    with _told_in_one_line():
        chosen = settings.load(other_variables=_command_variables(), database=url)
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
    """Says every two seconds how many rows a long load has inserted, if a person is watching."""

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
