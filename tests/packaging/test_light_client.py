"""The light distribution: pytest-cstar-mock alone, beside old libraries, against a server of another environment."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.conftest import ROOT, Server
from tests.packaging.test_wheel import UV, build, contents, run

from cstar_mock import VERSION

LIGHT = ROOT / "pytest-cstar-mock"
OLD = ("sqlalchemy<2", "fastapi==0.100.*", "pydantic<2", "pytest==7.*")
COMMAND = f"{sys.executable} -m cstar_mock"
USER = """
import importlib.util, json, urllib.request
import fastapi, pydantic, pytest, sqlalchemy
from cstar_mock.testing import NotStarted, Refused, Server, Team, Unreachable, connected, in_process, server

def overview(cstar):
    request = urllib.request.Request(
        f"{cstar.url}/analytics/overview", headers={"Authorization": f"Bearer {cstar.secret_key}"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)["data"]

def test_what_is_installed():
    versions = [module.__version__.split(".")[0] for module in (fastapi, pydantic, pytest, sqlalchemy)]
    assert versions == ["0", "1", "7", "1"]
    assert importlib.util.find_spec("cstar_mock.application") is None

@pytest.mark.cstar(environment="live")
def test_the_handle(cstar: Team):
    cstar.given(overview={"tickets": {"total": 142, "open": 23, "resolved": 89}})
    cstar.faults.next(429, retry_after=1)
    with pytest.raises(urllib.error.HTTPError, match="429"):
        overview(cstar)
    assert overview(cstar)["tickets"]["open"] == 23
    cstar.requests.assert_count(2, endpoint="overview")
    with pytest.raises(Refused, match="no customer 'nobody'|nobody"):
        cstar.given(tickets=[{"customerId": "nobody"}])

def test_the_ways_to_a_server(cstar_server: Server):
    with pytest.raises(NotStarted, match="not installed in this environment"), server():
        ...
    with pytest.raises(NotStarted, match="not installed in this environment"), in_process():
        ...
    with pytest.raises(NotStarted, match="can't run nosuch: No such file"), server(command="nosuch"):
        ...
    with pytest.raises(Unreachable, match="no answer from http://127.0.0.1:9"), connected("http://127.0.0.1:9") as no:
        no.reset()
    with pytest.raises(ValueError, match="http://HOST:PORT"), connected("https://127.0.0.1:9"):
        ...
"""
TOKEN = "token-of-the-control-api"
WITH_TOKEN = f"""
def test_the_token(cstar_server):
    with connected(cstar_server.url, {TOKEN!r}) as same, same.team() as cstar:
        assert overview(cstar)["tickets"]["total"] == 0
    with pytest.raises(Refused, match="CSTAR_ADMIN_TOKEN"), connected(cstar_server.url) as same:
        same.reset()
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheels of cstar-mock and of pytest-cstar-mock."""
    folder = tmp_path_factory.mktemp("wheels")
    return build("wheel", ROOT, folder / "full"), build("wheel", LIGHT, folder / "light")


@pytest.fixture(scope="module")
def python(wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with the light wheel and old versions of what cstar-mock needs.

    They come from a package index, or from uv's cache.
    """
    folder = tmp_path_factory.mktemp("light")
    run(UV, "venv", "--python", sys.executable, str(folder / "venv"), cwd=folder)
    python = str(folder / "venv" / "bin" / "python")
    run(UV, "pip", "install", "--python", python, str(wheels[1]), *OLD, cwd=folder)
    run(UV, "pip", "check", "--python", python, cwd=folder)
    return python


def run_tests(python: str, folder: Path, *options: str) -> str:
    """Run the tests of a folder with the fixtures, and return pytest's output."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("CSTAR_", "COVERAGE_"))}
    done = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder, env=outside, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_by_url(python: str, server: Server, tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(USER)
    assert "3 passed" in run_tests(python, tmp_path, "--cstar-url", server.url)


def test_by_command(python: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\ncstar_command = {COMMAND}\ncstar_server_options = --control-token {TOKEN}\n"
    )
    (tmp_path / "test_user.py").write_text(USER + WITH_TOKEN)
    assert "4 passed" in run_tests(python, tmp_path)


def test_without_a_server_it_says_how_to_name_one(python: str, tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text("def test_it(cstar): ...")
    said = run_tests(python, tmp_path)
    assert "cstar-mock is not installed in this environment" in said
    assert "--cstar-url or --cstar-command" in said


def test_the_two_distributions_share_no_file(wheels: tuple[Path, Path]) -> None:
    full, light = (set(contents(wheel)) for wheel in wheels)
    assert full & light == set()
    assert not any(name.startswith("cstar_mock/testing/") for name in full)
    assert {"cstar_mock/testing/plugin.py", "cstar_mock/testing/py.typed"} <= light
    assert {name.split("/")[0] for name in light} == {"cstar_mock", f"pytest_cstar_mock-{VERSION}.dist-info"}


@pytest.mark.parametrize("first", [0, 1])
def test_they_work_from_two_folders(wheels: tuple[Path, Path], tmp_path: Path, first: int) -> None:
    """As with one of them in a user's site-packages, or installed as editable."""
    for number, wheel in enumerate(wheels):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / str(number))
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path / str(first))!r}, {str(tmp_path / str(1 - first))!r}];"
        "import cstar_mock.testing as t, cstar_mock.serving.server_process as p; print(t.__file__, p.__file__)"
    )
    where = run(sys.executable, "-I", "-c", code, cwd=tmp_path)
    assert where.split() == [
        f"{tmp_path}/1/cstar_mock/testing/__init__.py",
        f"{tmp_path}/0/cstar_mock/serving/server_process.py",
    ]


def test_it_depends_on_pytest_alone_and_has_the_version_of_cstar_mock() -> None:
    project = tomllib.loads((LIGHT / "pyproject.toml").read_text())["project"]
    assert [one.partition(">")[0] for one in project["dependencies"]] == ["pytest"]
    assert project["version"] == VERSION
