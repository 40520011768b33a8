"""The command line.

Everything slow is imported inside the commands, so that `--help` and a mistyped option answer at once.
"""

import gc
import io
import os
import sys

import click

from cstar_mock import VERSION
from cstar_mock.cli import documents, serving, statements, store
from cstar_mock.cli.options import ENV_PREFIX, Group
from cstar_mock.contract.redaction import printable, shortened

_STDOUT = 1

_OBJECTS_BETWEEN_COLLECTIONS = 10_000
"""New objects until garbage is looked for. Imports make many that stay: with Python's default, a sixth of a start was
spent on looking through them again and again."""


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
    cls=Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "auto_envvar_prefix": ENV_PREFIX.rstrip("_"),
        "show_default": True,
    },
)
@click.version_option(VERSION, prog_name="cstar-mock")
def cli() -> None:
    """A reference double of the cStar Analytics API: exact answers, computed from real rows."""


for _command in (
    serving.serve,
    serving.execute,
    store.load,
    store.generate,
    store.keys,
    store.db,
    documents.openapi,
    documents.schema,
    statements.statements,
):
    cli.add_command(_command)
