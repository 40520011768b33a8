"""Safe YAML with the scalars of YAML 1.2's core schema, by PyYAML, whose own scalars are those of YAML 1.1.

YAML 1.1 reads `010` as 8, `12:30` as 750, `1_000` as 1000, `yes` as true, and a date as an object. Here they are text,
which a field for a number or a boolean refuses. Merge keys (`<<`) are YAML 1.1's, and kept.
"""

import re
from typing import Any

import yaml

from cstar_mock import bounds
from cstar_mock.contract.json_types import quoted

_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    # With leading zeros it is text: YAML 1.1 reads it as octal, YAML 1.2 as decimal.
    "int": re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
    "merge": re.compile(r"<<"),
}
"""The scalars that are no text, in the order in which they are tried."""

_KINDS: dict[type[yaml.Node], frozenset[str]] = {
    yaml.ScalarNode: frozenset({*_CORE, "str"}),
    yaml.SequenceNode: frozenset({"seq"}),
    yaml.MappingNode: frozenset({"map"}),
}
"""The allowed tags, without their common beginning."""


class YamlRefused(ValueError):
    """A text that is not the YAML of a data set.

    Attributes:
        line: the line of the problem, counted from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        self.line = line
        super().__init__(message)


def compose(text: str) -> yaml.Node | None:
    """Return the node tree of a YAML text, None for an empty one.

    Raises:
        YamlRefused: the text isn't YAML, or its tree has something that a data set can't have: see `_check`.
    """
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
        if node is not None:
            _check(node, 0, {})
    except yaml.MarkedYAMLError as error:
        raise _refused(error) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlRefused(f"the character {_name(error.character)} is not allowed", line) from None
    except yaml.YAMLError as error:
        raise YamlRefused(" ".join(str(error).split()), 1) from None
    return node


def construct(node: yaml.Node) -> object:
    """Return the content of a node tree.

    Raises:
        YamlRefused: a merge key has nothing to merge.
    """
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _refused(error) from None
    finally:
        loader.dispose()


def _refused(error: yaml.MarkedYAMLError) -> YamlRefused:
    mark = error.problem_mark or error.context_mark
    return YamlRefused(str(error.problem or error.context), mark.line + 1 if mark else 1)


def _name(character: int | str | bytes) -> str:
    number = character if isinstance(character, int) else ord(character)
    return f"U+{number:04X}"


def _fail(node: yaml.Node, message: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, message, node.start_mark)


def _check(node: yaml.Node, depth: int, known: dict[int, int]) -> int:
    """Return the number of values in a tree once its aliases are expanded: a few lines can expand to billions.

    Raises:
        ConstructorError: there are too many, they are nested too deeply, a tag is not one of the core schema or
            doesn't fit its value, a number is too long, or a key is no text or repeated.
    """
    if id(node) in known:
        return known[id(node)]
    _check_tag(node)
    if depth > bounds.DEEPEST_YAML:
        raise _fail(node, f"is nested more than {bounds.DEEPEST_YAML} levels deep")
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_check(child, depth + 1, known) for child in children)
    if size > bounds.MOST_YAML_NODES:
        raise _fail(node, f"expands to more than {bounds.MOST_YAML_NODES} values with its aliases")
    known[id(node)] = size
    return size


def _check_tag(node: yaml.Node) -> None:
    kind = node.tag.removeprefix(_TAG)
    if kind not in _KINDS[type(node)]:
        raise _fail(node, f"the tag {node.tag[:100]!r} is not allowed")
    if kind in _CORE and not _CORE[kind].fullmatch(node.value):  # the tag was written: `!!int 010`
        raise _fail(node, f"{quoted(node.value)} is not of the type {kind}")
    if kind in {"int", "float"} and len(node.value) > bounds.LONGEST_YAML_NUMBER:
        raise _fail(node, f"a number of {len(node.value):,} characters is too long; put text in quotes")


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            # `{{ name }}`, too, is a mapping with a mapping as its key.
            raise _fail(
                key, "a key can't be a list or a mapping; render a template such as {{ name }} first, or quote it"
            )
        if key.value in seen:
            raise _fail(key, f"the key {quoted(key.value)} is repeated")
        seen.add(key.value)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML whose scalars are those of the core schema, and whose keys are text."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, Any]]] = {}  # noqa: RUF012  (PyYAML's own signature)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


for _kind, _pattern in _CORE.items():
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(rf"(?:{_pattern.pattern})\Z"), [None])
_Loader.add_constructor(_TAG + "merge", lambda _loader, node: node.value)  # anywhere but as a key
_Loader.add_constructor(_TAG + "int", lambda _loader, node: int(node.value, 0))
_Loader.add_constructor(
    _TAG + "float", lambda _loader, node: float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
)
