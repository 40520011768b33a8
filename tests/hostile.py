"""Hostile values, and the fields that they go through, read from a JSON Schema."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    "NUL": "a\0b",
    "NUL alone": "\0",
    "high surrogate": "\ud800",
    "low surrogate": "a\udfffb",
    "bidi control": "a\u202eb",
    "2^31": 2**31,
    "2^53": 2**53,
    "2^53+1": 2**53 + 1,
    "2^63": 2**63,
    "2^64": 2**64,
    "10^30": 10**30,
    "-1": -1,
    "-2^63-1": -(2**63) - 1,
    "0": 0,
    "1.5": 1.5,
    "1e-308": 1e-308,
    "1e308": 1e308,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
    "empty": "",
    "space": " ",
    "spaces around": " a ",
    "line end": "a\n",
    "tab": "\t",
    "64 KB": "x" * 65_536,
    "64 KB of digits": "9" * 65_536,
    "deep": _nested(60),
    "homoglyph": "cus_\u04301",
    "homoglyph of live": "liv\u0435",
    "upper case": "CUS_1",
    "NFC": "\u00e9",
    "NFD": "e\u0301",
    "Arabic digits": "-\u0663d",
    "true": True,
    "false": False,
    "null": None,
    "empty list": [],
    "list of a number": [1],
    "list of a text": ["a"],
    "list of null": [None],
    "empty object": {},
    "object": {"a": 1},
    "text of a number": "1",
    "text of true": "true",
    "year 1": "0001-01-01T00:00:00Z",
    "year 0": "0001-01-01T00:00:00+14:00",
    "year 9999": "9999-12-31T23:59:59Z",
    "last microsecond": "9999-12-31T23:59:59.999999Z",
    "year 10000": "9999-12-31T23:59:59-14:00",
    "date": "2025-12-10",
    "week date": "2025-W50-3T14:30:00Z",
    "seconds of an offset": "2025-12-10T14:30:00+01:30:30",
    "far past": "-999999999w",
    "far future": "+999999999w",
    "long sum": "+" + "999999999w" * 1000,
    "now": "now",
    "long length": "999999999w",
    "no length": "0s",
    "long duration": "PT999999999S",
    "longest duration": "P999999D",
}
"""Values by what is hostile about them."""


@dataclass(frozen=True)
class Field:
    """A place of a document: `build` returns a small document that is valid but for the value given there."""

    path: Path
    build: Callable[[Any], Any]

    def __str__(self) -> str:
        return ".".join(map(str, self.path)) or "(whole)"


@dataclass(frozen=True)
class Walker:
    """Reads fields from a schema.

    Attributes:
        root: the document that the schema's references point into.
        examples: valid values by the name of their field, where a schema does not tell one.
        objects: valid objects by the title of their schema, where the required fields alone are not valid.
    """

    root: Schema
    examples: Mapping[str, Any]
    objects: Mapping[str, Any]

    def fields(self, schema: Schema, name: str = "") -> Iterator[Field]:
        """Yield every field of a schema, the whole first."""
        yield Field((), lambda value: value)
        yield from self._inner(self._resolved(schema), name)

    def example(self, schema: Schema, name: str = "") -> Any:
        """Return a small valid value."""
        schema = self._resolved(schema)
        if name in self.examples:
            return self.examples[name]
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return self.example(branches[0], name)
        if schema.get("type") == "object":
            required = {key: self.example(schema["properties"][key], key) for key in schema.get("required", ())}
            return {**required, **self.objects.get(schema.get("title", ""), {})}
        if schema.get("type") == "array":
            return [self.example(schema["items"], name)] * schema.get("minItems", 0)
        simple = {"integer": 1, "number": 1, "boolean": True, "null": None}
        return schema.get("const", schema.get("enum", [simple.get(schema.get("type", ""), "a")])[0])

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            target: Any = self.root
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            schema = target
        return schema

    def _inner(self, schema: Schema, name: str) -> Iterator[Field]:
        for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            yield from self._inner(self._resolved(branch), name)
        for key, inner in schema.get("properties", {}).items():
            for field in self.fields(inner, key):
                yield Field((key, *field.path), _into({**self.example(schema)}, key, field))
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            for field in self.fields(extra):
                yield Field(("some-name", *field.path), _into({}, "some-name", field))
        for items in (schema.get("items"), *schema.get("prefixItems", ())[:1]):
            if isinstance(items, Mapping):
                others = list(self.example(schema, name))[1:] if "prefixItems" in schema else []
                for field in self.fields(items, name):
                    yield Field((0, *field.path), _as_first(others, field))


def _into(example: dict[str, Any], key: str, field: Field) -> Callable[[Any], Any]:
    return lambda value: {**example, key: field.build(value)}


def _as_first(others: list[Any], field: Field) -> Callable[[Any], Any]:
    return lambda value: [field.build(value), *others]
