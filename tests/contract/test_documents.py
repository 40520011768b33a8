"""Both OpenAPI documents: what linters ask for, and what makes a generated client pleasant and lasting."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import MakeApi

pytestmark = pytest.mark.one_engine("the documents, and nothing that is stored")

Schema = dict[str, Any]


@pytest.fixture(name="document", params=["/openapi.json", "/__admin/openapi.json"])
def _document(request: pytest.FixtureRequest, make_api: MakeApi) -> Schema:
    document: Schema = make_api().client.get(request.param).json()
    return document


def parts(value: Any) -> Iterator[Schema]:
    """Return every object inside a value, itself included."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def operations(document: Schema) -> list[Schema]:
    """Return all operations."""
    return [operation for item in document["paths"].values() for operation in item.values()]


def answered(document: Schema) -> dict[str, Schema]:
    """Return the components that an answer can have in it."""
    components: dict[str, Schema] = document["components"]["schemas"]
    found: dict[str, Schema] = {}
    ahead = [response for operation in operations(document) for response in operation["responses"].values()]
    while ahead:
        for part in parts(ahead.pop()):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = components[name]
                ahead.append(components[name])
    return found


def test_it_says_who_serves_it_and_under_which_license(document: Schema) -> None:
    assert document["info"]["contact"]["name"]
    assert document["info"]["license"] == {"name": "MIT", "identifier": "MIT"}
    assert all(server["url"].startswith("/") and server["description"] for server in document["servers"])


def test_its_tags_are_described_and_used(document: Schema) -> None:
    described = [tag["name"] for tag in document["tags"] if tag["description"]]
    assert set(described) == {tag for operation in operations(document) for tag in operation["tags"]}


def test_every_operation_says_what_it_does(document: Schema) -> None:
    summaries = [operation["summary"] for operation in operations(document)]
    assert len(set(summaries)) == len(summaries)
    for operation in operations(document):
        assert len(operation["summary"].split()) > 1, operation["operationId"]
        assert operation["description"], operation["operationId"]


def test_names_of_components_are_names_of_types(document: Schema) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch(r"([A-Z][a-z]+)+", name)
        assert schema.get("title", name) == name


def test_no_enum_is_written_twice(document: Schema) -> None:
    enums = [tuple(part["enum"]) for part in parts(document) if isinstance(part.get("enum"), list)]
    components = [tuple(schema["enum"]) for schema in document["components"]["schemas"].values() if "enum" in schema]
    for enum in components:
        assert enums.count(enum) == 1, enum


def test_every_array_says_what_is_in_it(document: Schema) -> None:
    assert all("items" in part for part in parts(document) if part.get("type") == "array")


def test_every_header_has_an_example(document: Schema) -> None:
    for operation in operations(document):
        for response in operation["responses"].values():
            assert all("example" in header for header in response.get("headers", {}).values())


def test_an_answer_may_get_more_fields_and_always_has_its_type(document: Schema) -> None:
    for name, schema in answered(document).items():
        if name not in sent(document):
            assert all(part.get("additionalProperties") is not False for part in parts(schema)), name
        if "const" in schema.get("properties", {}).get("object", {}):
            assert "object" in schema["required"], name


def sent(document: Schema) -> set[str]:
    """Return the names of the components that a request can have in it."""
    requests = [operation.get("requestBody", {}) for operation in operations(document)]
    inside = {"paths": {"/": {"post": {"responses": {"200": requests}}}}, "components": document["components"]}
    return set(answered(inside))
