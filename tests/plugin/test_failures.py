"""What the plugin and the handle say when something is wrong, and the words that a type checker knows."""

import re
from pathlib import Path
from typing import Any, get_args

from tests.plugin.conftest import PYTEST, Run, outcomes

from cstar_mock.contract.errors import CATALOGUE
from cstar_mock.contract.periods import Period
from cstar_mock.contract.vocabulary import KEY_PREFIXES, Endpoint, Environment, KeyType
from cstar_mock.testing import vocabulary
from cstar_mock.traffic.fault_rules import ConnectionFault, Match

WRONG_FILES = {
    "data/broken.yaml": ("teams: [", "broken.yaml:1: "),
    "data/broken.json": ('{"teams": ]}', "broken.json:1: Expecting value"),
    "data/empty.yaml": ("", "empty.yaml: a data set has a list of teams under 'teams'"),
    "data/octal.yaml": ("teams: [{live: {recipes: [{tickets: 010}]}}]", "octal.yaml: POST /teams: dataset.live"),
    "nosuch.yaml": (None, "nosuch.yaml: can't be read: "),
}

FAILING = """
import pytest
from cstar_mock.testing import Refused

def test_count(cstar):
    cstar.requests.assert_count(7)

def test_refused(cstar):
    cstar.given(tickets=[{"customerId": "nobody"}])

def test_value(cstar):
    cstar.clock.advance(days=-1)
"""


def test_a_data_set_file_that_is_wrong_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    tests = ["import pytest"]
    for number, (name, (content, _)) in enumerate(WRONG_FILES.items()):
        if content is not None:
            (tmp_path / name).write_text(content)
        tests.append(f"@pytest.mark.cstar(dataset={name!r})\ndef test_{number}(cstar): ...")
    (tmp_path / "test_wrong.py").write_text("\n".join(tests))
    done = run(*PYTEST)
    assert outcomes(done) == {"error": len(WRONG_FILES)}, done.stdout
    for _, sentence in WRONG_FILES.values():
        assert sentence in done.stdout, done.stdout


def test_a_failure_is_shown_at_the_line_of_the_test(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    done = run(*PYTEST)
    assert outcomes(done) == {"failed": 3}, done.stdout
    assert set(re.findall(r"^(\S+\.py):\d+: ", done.stdout, re.MULTILINE)) == {"test_failing.py"}
    for line in ("cstar.requests.assert_count(7)", "cstar.given(tickets", "cstar.clock.advance(days=-1)"):
        assert f">       {line}" in done.stdout or f">   {line}" in done.stdout or f">       {line[:20]}" in done.stdout


def test_the_debugger_stops_in_the_test(run: Run, tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(FAILING)
    done = run(*PYTEST, "--pdb")
    stops = re.findall(r"^> (\S+?)\(\d+\)(\w+)\(\)$", done.stdout, re.MULTILINE)
    assert {Path(file).name for file, _ in stops} == {"test_failing.py"}, done.stdout


def test_the_types_have_the_words_of_the_server() -> None:
    words: dict[Any, list[str]] = {
        vocabulary.Environment: list(Environment),
        vocabulary.KeyType: list(KeyType),
        vocabulary.KeyPrefix: list(KEY_PREFIXES),
        vocabulary.Period: list(Period),
        vocabulary.Endpoint: list(Endpoint),
        vocabulary.ErrorName: list(CATALOGUE),
        vocabulary.ConnectionFault: list(ConnectionFault),
    }
    for literal, known in words.items():
        assert sorted(get_args(literal)) == sorted(known)
    assert set(vocabulary.Match.__annotations__) == {field.alias or name for name, field in Match.model_fields.items()}
