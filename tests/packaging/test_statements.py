"""The statements: each is whole, has a test that names it, and a test that notices when its setting changes it."""

import ast
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from tests.conftest import ROOT, Api, cli_runner

from cstar_mock import Settings, cli
from cstar_mock.fidelity import page, statements
from cstar_mock.fidelity.statements import LEVELS, MARKS, Statement, find

ALL = statements.statements()
WITH_SETTING = [(one.id, value) for one in ALL if one.setting is not None for value in one.setting.others]


def named(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return the tests that name each statement, as `FILE::TEST`; `sources` are texts by file.

    Raises:
        ValueError: a mark has an id that no statement has.
    """
    tests: dict[str, list[str]] = defaultdict(list)
    for file, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for id_ in _ids_of(node):
                    prefix = id_.removesuffix("*")
                    found = [one.id for one in ALL if one.id == id_ or (prefix != id_ and one.id.startswith(prefix))]
                    if not found:
                        raise ValueError(f"{file}::{node.name} names {id_!r}, which is no statement")
                    for one in found:
                        tests[one].append(f"{file}::{node.name}")
    return tests


def _ids_of(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        argument.value
        for mark in test.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.states"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


@pytest.fixture(name="tests", scope="module")
def _tests() -> dict[str, list[str]]:
    """The tests that name each statement."""
    return named(
        {str(file.relative_to(ROOT)): file.read_text() for file in sorted((ROOT / "tests").rglob("test_*.py"))}
    )


def test_every_statement_has_a_test_that_names_it(tests: dict[str, list[str]]) -> None:
    assert [one.id for one in ALL if one.id not in tests] == []


def test_a_mark_with_an_unknown_id_is_refused() -> None:
    source = '@pytest.mark.states("period.default", "no.such")\ndef test_a(): ...'
    with pytest.raises(ValueError, match=r"tests/test_a\.py::test_a names 'no.such', which is no statement"):
        named({"tests/test_a.py": source})


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_a_statement_is_whole(one: Statement) -> None:
    assert one.mark in MARKS
    assert one.level in LEVELS
    assert (one.why is None) == (one.mark != "ours")
    assert (one.source is None) == (one.mark == "ours")
    assert (one.outside is None) != (one.excluded is None)
    assert one.text.endswith(".")
    assert "|" not in one.text
    if one.setting is not None:
        field = Settings.model_fields[one.setting.option.replace("-", "_")]
        assert str(getattr(field.default, "value", field.default)).lower() == one.setting.default
        assert one.setting.default not in one.setting.others


def test_ids_are_unique() -> None:
    assert len({one.id for one in ALL}) == len(ALL) > 100


@pytest.mark.parametrize(("id_", "value"), WITH_SETTING)
def test_the_tests_of_a_statement_fail_when_its_setting_changes_it(
    id_: str, value: str, tests: dict[str, list[str]]
) -> None:
    """Without this, they could pass whatever the server answers."""
    setting = find(id_).setting
    assert setting is not None
    variable = f"CSTAR_MOCK_{setting.option.replace('-', '_').upper()}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-k",
        "not postgresql",
        *tests[id_],
    ]
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    flipped = subprocess.run(
        command, cwd=ROOT, env={**environment, variable: value}, capture_output=True, text=True, check=False
    )
    assert flipped.returncode == 1, flipped.stdout
    assert "AssertionError" in flipped.stdout or "KeyError" in flipped.stdout, flipped.stdout


def test_the_page_is_current() -> None:
    printed = cli_runner().invoke(cli.cli, ["statements", "--format", "markdown"]).output
    assert printed == page.markdown(ALL)
    assert (ROOT / "docs/fidelity.md").read_text() == printed


def test_the_command_lists_those_of_a_mark() -> None:
    listed = cli_runner().invoke(cli.cli, ["statements", "--mark", "ours"]).output.splitlines()
    ours = [one for one in ALL if one.mark == "ours"]
    assert listed[0] == f"{len(ours)} statements: 0 documented, 0 from cStar's site, {len(ours)} ours"
    assert [line.split()[1] for line in listed[2:]] == [one.id for one in ours]


def test_the_control_api_lists_them(api: Api) -> None:
    answer = api.client.get("/__admin/statements").json()
    assert answer["headline"] == statements.headline(ALL)
    assert [one["id"] for one in answer["statements"]] == [one.id for one in ALL]
    mean = next(one for one in answer["statements"] if one["id"] == "mean.empty")
    assert mean["setting"] == {"option": "empty-mean", "default": "null", "others": ["zero"]}
    some = api.client.get("/__admin/statements", params={"mark": "site"}).json()["statements"]
    assert {one["mark"] for one in some} == {"site"}
    assert api.client.get("/__admin/statements", params={"mark": "theirs"}).status_code == 400


def test_they_ship_with_the_package() -> None:
    assert Path(statements.__file__).with_name("statements.yaml").is_file()
