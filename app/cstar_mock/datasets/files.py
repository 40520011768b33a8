"""Data sets in files: the YAML that is allowed, and errors that name file and line."""

import codecs
from collections.abc import Sequence
from pathlib import Path

import yaml

from cstar_mock.datasets import yaml12
from cstar_mock.datasets.format import Dataset, parse
from cstar_mock.datasets.problems import DatasetError, Problem
from cstar_mock.store import package_data


def shipped_names() -> list[str]:
    """Return the names of the data sets that ship with cstar-mock."""
    return sorted(path.stem for path in package_data.folder("seed").glob("*.yaml"))


def find(name_or_path: str) -> Path:
    """Return the file of a data set: a shipped one by its name, any other by its path.

    Raises:
        DatasetError: there is neither.
    """
    names = shipped_names()
    if name_or_path in names:
        return package_data.folder("seed") / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise DatasetError([Problem((), f"no data set {name_or_path!r}: give {', '.join(names)}, or the path of a file")])


def read(path: Path) -> Dataset:
    """Read a data set file.

    Raises:
        DatasetError: naming file, line and field of the first problem, and how many there are.
    """
    node, content = _parsed(path)
    try:
        return parse(content)
    except DatasetError as error:
        raise DatasetError(error.problems, _where(path, node, error)) from None


def located(error: DatasetError, path: Path) -> DatasetError:
    """Return the error with the file and the line that its first problem points to."""
    node, _ = _parsed(path)
    return DatasetError(error.problems, _where(path, node, error))


def _parsed(path: Path) -> tuple[yaml.Node | None, object]:
    text = _text(path)
    try:
        node = yaml12.compose(text)
        return node, None if node is None else yaml12.construct(node)
    except yaml12.YamlRefused as error:
        raise DatasetError([Problem((), str(error))], f"{path}:{error.line}: ") from None


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError([Problem((), f"can't be read: {error.strerror}")], f"{path}: ") from None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DatasetError([Problem((), "can't be read: it is UTF-16; save it as UTF-8")], f"{path}:1: ")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError([Problem((), "can't be read: it is not UTF-8")], f"{path}:{line}: ") from None


def _where(path: Path, node: yaml.Node | None, error: DatasetError) -> str:
    return f"{path}:{_line(node, error.problems[0].location)}: "


def _line(node: yaml.Node | None, location: Sequence[str | int]) -> int:
    line = 1
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
            if not found:
                break
            # Merged keys come before the mapping's own, which win.
            line, node = found[-1][0].start_mark.line + 1, found[-1][1]
            continue
        else:
            break
        line = node.start_mark.line + 1
    return line
