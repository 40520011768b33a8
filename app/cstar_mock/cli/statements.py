"""The command that lists the statements about cStar's API."""

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cstar_mock.fidelity.statements import Statement


@click.command()
@click.option("--mark", type=click.Choice(["doc", "site", "ours"]), help="Only statements from this source.")
@click.option("--format", "format_", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
def statements(mark: str | None, format_: str) -> None:
    """List every statement that the server makes about cStar's API, with its source."""
    from cstar_mock.fidelity import page
    from cstar_mock.fidelity import statements as listed

    chosen = [one for one in listed.statements() if mark in (None, one.mark)]
    if format_ == "json":
        document = {"headline": listed.headline(chosen), "statements": [one.as_json() for one in chosen]}
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif format_ == "markdown":
        click.echo(page.markdown(chosen), nl=False)
    else:
        click.echo("\n".join([listed.headline(chosen), "", *_lines(chosen)]))


def _lines(chosen: "Sequence[Statement]") -> list[str]:
    width = max(len(one.id) for one in chosen)
    return [f"{one.mark:<4}  {one.id:<{width}}  {one.text}" for one in chosen]
