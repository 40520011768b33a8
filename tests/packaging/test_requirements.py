"""What the package asks of others, and what is fixed: floors, tags and versions."""

import re
import tomllib
from typing import Any

import pytest
from tests.conftest import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("metrics", "postgresql", "pytest", "valkey")
"""The extras of `make test-lowest`; `opentelemetry` needs a newer FastAPI than the package alone."""

DIRECT = [
    *PROJECT["dependencies"],
    *(line for extra in EXTRAS for line in PROJECT["optional-dependencies"][extra] if "cstar-mock" not in line),
]
BESIDE = {
    "alembic": "1.15",
    "click": "8.1.8",
    "fastapi": "0.115",
    "limits": "4",
    "pydantic": "2.11",
    "sqlalchemy": "2.0.30",
    "uvicorn": "0.34",
}
"""Releases that other projects are bound to."""


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared; zeros at the end mean nothing."""
    return tuple(int(part) for part in re.sub(r"(\.0)+$", "", version).split("."))


def floors() -> dict[str, str]:
    """Return the lowest allowed release of each direct dependency."""
    return {re.split(r"[\[>]", line)[0]: re.findall(r">=([\d.]+)", line)[0] for line in DIRECT}


def test_the_lowest_releases_are_the_ones_that_are_tested() -> None:
    text = (ROOT / "tests/lowest/requirements.txt").read_text()
    tested = dict(line.split("==") for line in text.splitlines())
    assert floors()
    for name, floor in floors().items():
        assert numbers(tested[name]) == numbers(floor), name


@pytest.mark.parametrize(("name", "release"), BESIDE.items())
def test_it_can_be_installed_beside_projects_that_are_bound_to_older_releases(name: str, release: str) -> None:
    assert numbers(floors()[name]) <= numbers(release)


def test_the_image_is_built_from_fixed_versions_by_any_builder() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON_IMAGE=docker\.io/library/python:\d+\.\d+\.\d+-slim-\w+$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert re.search(r"pip install .* uv==\d+\.\d+\.\d+$", text, re.MULTILINE)
    (healthcheck,) = re.findall(r"^HEALTHCHECK (.*)$", text, re.MULTILINE)
    assert "--start-interval" not in healthcheck
