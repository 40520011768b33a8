"""Data set files of a test suite, read here, since the server may be on another machine."""

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_KEPT = ("clock", "rateLimits", "faults", "live", "test")
"""The fields that a new team takes from the first team of a data set; name and keys are new."""

_SCALARS = (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
    ("merge", r"^<<$", ["<"]),
)
"""The scalars that are not text, nearly as in YAML 1.2: times stay text, and so do `yes`, `010` and `1:30`."""


def is_path(dataset: object) -> bool:
    """Whether a data set is named by its file: a path object, or text with a slash or the ending of such files."""
    if isinstance(dataset, str):
        return "/" in dataset or dataset.endswith((".yaml", ".yml", ".json"))
    return isinstance(dataset, os.PathLike)


def first_team(path: Path) -> dict[str, Any]:
    """Return the content of the first team of a data set file, as `POST /__admin/teams` takes it.

    Raises:
        ValueError: the file can't be read, or is not a data set.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else _yaml(path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: can't be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: {error.msg}") from None
    teams = content.get("teams") if isinstance(content, Mapping) else None
    if not isinstance(teams, list) or not teams or not isinstance(teams[0], Mapping):
        raise ValueError(f"{path}: a data set has a list of teams under 'teams'")
    return {name: teams[0][name] for name in _KEPT if name in teams[0]}


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415  (comes with cstar-mock; the test client alone needs it only here)
    except ModuleNotFoundError:
        raise ValueError(f"{path}: YAML needs PyYAML, pip install pyyaml; a .json file needs nothing") from None
    try:
        return yaml.load(text, _loader())  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}:{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None


@cache
def _loader() -> Any:
    import yaml  # noqa: PLC0415

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (PyYAML's own attribute)

    for name, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(pattern), first)
    return Loader
