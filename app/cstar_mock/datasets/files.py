"""Data sets in files: the YAML that is allowed, and errors that name file and line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cstar_mock import bounds, shipped
from cstar_mock.datasets.format import Dataset, parse
from cstar_mock.datasets.problems import DatasetError, Problem


def shipped_names() -> list[str]:
    """Return the names of the data sets that ship with cstar-mock."""
    return sorted(path.stem for path in shipped.folder("seed").glob("*.yaml"))


def find(name_or_path: str) -> Path:
    """Return the file of a data set: a shipped one by its name, any other by its path.

    Raises:
        DatasetError: there is neither.
    """
    names = shipped_names()
    if name_or_path in names:
        return shipped.folder("seed") / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise DatasetError([Problem((), f"no data set {name_or_path!r}: give {', '.join(names)}, or the path of a file")])


def read(path: Path) -> Dataset:
    """Read a data set file.

    Raises:
        DatasetError: naming file, line and field of the first problem, and how many there are.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError([Problem((), f"can't be read: {error}")], f"{path}: ") from None
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _expanded(node, 0, {})
        content = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DatasetError([Problem((), str(error.problem))], f"{path}:{line}: ") from None
    except yaml.YAMLError as error:
        raise DatasetError([Problem((), " ".join(str(error).split()))], f"{path}: ") from None
    finally:
        loader.dispose()
    try:
        return parse(content)
    except DatasetError as error:
        raise located(error, path, node) from None


def located(error: DatasetError, path: Path, node: yaml.Node | None = None) -> DatasetError:
    """Return the error with the file and the line that its first problem points to."""
    if node is None:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    return DatasetError(error.problems, f"{path}:{_line(node, error.problems[0].location)}: ")


def _expanded(node: yaml.Node, depth: int, known: dict[int, int]) -> int:
    """Return how many nodes a node is once its aliases are written out: a few lines can stand for billions.

    Raises:
        ConstructorError: too many, or nested too deeply.
    """
    if id(node) in known:
        return known[id(node)]
    if depth > bounds.DEEPEST_YAML:
        raise yaml.constructor.ConstructorError(
            None, None, f"is nested more than {bounds.DEEPEST_YAML} levels deep", node.start_mark
        )
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_expanded(child, depth + 1, known) for child in children)
    if size > bounds.MOST_YAML_NODES:
        raise yaml.constructor.ConstructorError(
            None, None, f"stands for more than {bounds.MOST_YAML_NODES} values with its aliases", node.start_mark
        )
    known[id(node)] = size
    return size


def _line(node: yaml.Node | None, location: Sequence[str | int]) -> int:
    line = 1
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
            continue
        else:
            break
        line = node.start_mark.line + 1
    return line


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe YAML in which times stay text, and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands there twice", key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
