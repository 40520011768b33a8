"""The parts that both OpenAPI documents share: license, contact, tags, and summaries of operations."""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

CONTACT = {"name": "The cstar-mock developers"}
LICENSE = {"name": "MIT", "identifier": "MIT"}

_END_OF_SUMMARY = re.compile(r"[.:;](?:\s|$)")


def document(app: FastAPI, *, server: dict[str, str], tags: dict[str, str]) -> dict[str, Any]:
    """Return FastAPI's OpenAPI document of an application.

    Args:
        app: the application, whose title, version, description and routes are described.
        server: the URL where it is served, and a description.
        tags: the description of each tag, in the order of the document.
    """
    return get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[server],
        tags=[{"name": name, "description": description} for name, description in tags.items()],
        contact=CONTACT,
        license_info=LICENSE,
        separate_input_output_schemas=app.separate_input_output_schemas,
    )


def summarise(document: dict[str, Any]) -> None:
    """Let each operation's summary be the first clause of its description, instead of its function's name."""
    for operation in operations(document):
        operation["summary"] = _END_OF_SUMMARY.split(operation["description"], maxsplit=1)[0]


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return all operations of a document."""
    for item in document["paths"].values():
        yield from item.values()
