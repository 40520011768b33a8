"""The options of the commands: one for each setting, made when a command is used."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ENV_PREFIX = "CSTAR_MOCK_"
"""The prefix of all variables; `settings` has the same, and is slow to import."""


class Group(click.Group):
    """A group that shows its help where a command is missing, and each command's whole summary."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help where there are no arguments."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command with its whole summary."""
        # A summary that is derived from the help is cut off with "...".
        cmd.short_help = cmd.short_help or " ".join((cmd.help or "").split("\n\n")[0].split())
        super().add_command(cmd, name)


class SettingsCommand(click.Command):
    """A command with one option for each setting, made when the command is used.

    Attributes:
        defaults: defaults of this command that are not those of the settings; None for an option that it doesn't have.
    """

    defaults: Mapping[str, str | None] = {}

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the arguments, and an option for each setting."""
        from cstar_mock.settings import Settings

        if not any(isinstance(parameter, click.Option) for parameter in self.params):
            fields = Settings.model_fields.items()
            options = [option_of(name, field, self.defaults.get(name, field.default)) for name, field in fields]
            for option in options:
                option.hidden = option.name in self.defaults and self.defaults[option.name] is None
            self.params = [*options, *self.params]
        return super().get_params(ctx)


def option_of(name: str, field: "FieldInfo", default: object) -> click.Option:
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


def command_variables() -> list[str]:
    """Return the variables of the commands' own options: `CSTAR_MOCK_GENERATE_TICKETS`, …."""
    variables: list[str] = []
    pending: list[tuple[str, click.Command]] = [
        (ENV_PREFIX.rstrip("_"), click.get_current_context().find_root().command)
    ]
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
