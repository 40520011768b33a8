"""The commands that serve: `serve` and `exec`, and the lines that a developer reads first."""

import atexit
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cstar_mock import VERSION, bounds
from cstar_mock.cli.failures import told_in_one_line
from cstar_mock.cli.options import SettingsCommand, command_variables
from cstar_mock.contract.redaction import printable

if TYPE_CHECKING:
    from cstar_mock.serving.server import Announcement
    from cstar_mock.teams.lifecycle import LoadedTeam

_MOST_SHOWN = 10
"""Teams whose slugs are shown at the start."""

_STDOUT = 1


class _ExecCommand(SettingsCommand):
    defaults = {"port": "a free one", "log_level": "warning", "ready_file": None, "exit_on_stdin_eof": None}  # noqa: RUF012


@click.command(cls=SettingsCommand)
def serve(**options: Any) -> None:
    """Serve the API. Without options: the documented data set, in memory, on 127.0.0.1:27827."""
    from cstar_mock import settings
    from cstar_mock.serving import server, server_process

    given = {name: value for name, value in options.items() if value not in (None, ())}
    with told_in_one_line():
        chosen = settings.load(other_variables=command_variables(), **given)
        if chosen.exit_on_stdin_eof:
            server_process.end_when_alone()
        server.serve(chosen, _announce)


# The options end with the first word of the command: the rest is the command's.
@click.command(cls=_ExecCommand, name="exec", context_settings={"allow_interspersed_args": False})
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
    with told_in_one_line():
        settings.load(other_variables=command_variables(), **given)
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
    """Return the lines that a developer needs next: the URL, the team ids, the keys, and a command to paste."""
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
    """Print lines without waiting for a reader: requests are answered at the same time."""
    from cstar_mock.observability.background_writer import BackgroundWriter

    writer = BackgroundWriter(_STDOUT, lambda count: b"(%d lines were dropped)\n" % count)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    for line in lines:
        writer.write(f"{printable(line)}\n".encode(encoding, "backslashreplace"), urgent=True)
    atexit.register(writer.flush, bounds.LOG_EXIT_SECONDS)


def _what_is_there(slugs: Sequence[str]) -> str:
    """Describe the teams of a server that loaded no data set."""
    if not slugs:
        return "The database has no teams; `--dataset documented` loads the documented one."
    some = ", ".join(slugs[:_MOST_SHOWN]) + (", …" if len(slugs) > _MOST_SHOWN else "")
    count = "1 team" if len(slugs) == 1 else f"{len(slugs):,} teams"
    return f"The database has {count}: {some}. `cstar-mock keys create` makes a key."


def curl(url: str, team: "LoadedTeam") -> str:
    """Return a command to paste."""
    overview = f"{url}/api/v1/teams/{team.id}/analytics/overview?period=week"
    return f'  curl -H "Authorization: Bearer {team.keys["sk_live"]}" "{overview}"'
