"""The commands that print documents: the OpenAPI document and the JSON Schema of data sets."""

import json
from pathlib import Path
from typing import Any

import click

from cstar_mock.cli.failures import told_in_one_line
from cstar_mock.cli.options import command_variables


@click.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def openapi(output: Path | None) -> None:
    """Print the OpenAPI document, as served at /openapi.json."""
    from cstar_mock import create_app, settings

    with told_in_one_line():
        _print_json(create_app(settings.load(other_variables=command_variables())).openapi(), output)


@click.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of data set files."""
    from cstar_mock.datasets.format import json_schema

    with told_in_one_line():
        _print_json(json_schema(), output)


def _print_json(document: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
