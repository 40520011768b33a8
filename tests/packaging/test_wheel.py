"""The wheel: what is in it, and that it works alone, away from the checkout."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import httpx2
import pytest
from tests.conftest import ROOT, running

from cstar_mock import VERSION

UV = str(Path(sys.executable).with_name("uv"))


def run(*command: str, cwd: Path) -> str:
    """Run a command that has to succeed, and return what it prints."""
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def build(target: str, source: Path, folder: Path) -> Path:
    """Build a wheel or an sdist from a folder, with what the development environment has, and return its path."""
    run(sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder), cwd=source)
    (built,) = folder.iterdir()
    return built


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel, except the list of their digests."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment with the wheel and its dependencies, and nothing else.

    The dependencies are the locked ones, taken from uv's cache, which `make setup` filled.
    """
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    python = str(folder / "venv" / "bin" / "python")
    locked = str(folder / "pylock.toml")
    run(UV, "export", "--locked", "--no-dev", "--no-emit-project", "--format", "pylock.toml", "-o", locked, cwd=ROOT)
    run(UV, "pip", "install", "--python", python, "-r", locked, cwd=folder)
    run(UV, "pip", "install", "--python", python, "--no-deps", str(wheel), cwd=folder)
    run(UV, "pip", "check", "--python", python, cwd=folder)
    return folder / "venv" / "bin"


def test_nothing_but_the_package_is_at_its_top(wheel: Path) -> None:
    assert {name.partition("/")[0] for name in contents(wheel)} == {"cstar_mock", f"cstar_mock-{VERSION}.dist-info"}


def test_it_has_every_file_of_the_package_and_its_two_folders(wheel: Path) -> None:
    wanted = {
        f"cstar_mock/{file.relative_to(folder)}"
        for folder in (ROOT / "app" / "cstar_mock", ROOT)
        for file in (folder.rglob("*") if folder != ROOT else [*ROOT.glob("migrations/**/*"), *ROOT.glob("seed/*")])
        if file.is_file()
        and not {"__pycache__", "testing"} & set(file.relative_to(folder).parts)  # testing: in pytest-cstar-mock
    }
    assert {
        "cstar_mock/py.typed",
        "cstar_mock/migrations/env.py",
        "cstar_mock/migrations/script.py.mako",
        "cstar_mock/migrations/versions/2026_11_23_0001_first_schema.py",
        "cstar_mock/migrations/versions/2026_11_23_0002_rollups.py",
        "cstar_mock/migrations/versions/2026_11_24_0003_wider_buckets.py",
        "cstar_mock/seed/documented.yaml",
        "cstar_mock/seed/edge.yaml",
        "cstar_mock/seed/empty.yaml",
        "cstar_mock/seed/busy.yaml",
    } <= wanted
    assert {name for name in contents(wheel) if name.startswith("cstar_mock/")} == wanted


def test_it_says_what_pyproject_says(wheel: Path) -> None:
    files = contents(wheel)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = Parser().parsestr(files[f"cstar_mock-{VERSION}.dist-info/METADATA"].decode())
    assert (metadata["Name"], metadata["Version"]) == ("cstar-mock", VERSION)
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(required) == len(project["dependencies"])
    assert metadata["Requires-Python"] == project["requires-python"]
    assert metadata.get_all("Provides-Extra") == ["metrics", "opentelemetry", "postgresql", "pytest", "valkey"]
    entry_points = ConfigParser()
    entry_points.read_string(files[f"cstar_mock-{VERSION}.dist-info/entry_points.txt"].decode())
    assert dict(entry_points["console_scripts"]) == {"cstar-mock": "cstar_mock.cli:main"}
    assert "pytest11" not in entry_points
    assert f"cstar_mock-{VERSION}.dist-info/licenses/LICENSE" in files


def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build("wheel", tmp_path / f"cstar_mock-{VERSION}", tmp_path / "wheel")
    assert contents(again) == contents(wheel)


def test_installed_alone_it_serves_the_documented_answers(installed: Path, tmp_path: Path) -> None:
    where = run(str(installed / "python"), "-c", "import cstar_mock; print(cstar_mock.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    with running(tmp_path, command=[str(installed / "cstar-mock")]) as server:
        response = httpx2.get(server.path("overview"), headers={"Authorization": "Bearer sk_live_your_key"})
        assert response.json() == {
            "success": True,
            "data": {
                "object": "analytics_overview",
                "period": "week",
                "tickets": {"total": 142, "open": 23, "resolved": 89},
                "customers": {"total": 450, "active": 120, "new": 15},
                "csat": {"average": 4.2, "totalResponses": 67},
            },
        }
        page = httpx2.get(f"{server.url}/docs")
        assert page.status_code == 200
        for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
            assert f"/docs/{asset}" in page.text
            assert len(httpx2.get(f"{server.url}/docs/{asset}").raise_for_status().content) > 100
        assert "https://" not in page.text
        assert httpx2.get(f"{server.url}/openapi.json").json()["info"]["version"] == VERSION
        assert server.stop() == 0


def test_installed_alone_it_migrates_and_loads_a_database(installed: Path, tmp_path: Path) -> None:
    script, database = str(installed / "cstar-mock"), ("--database", "sqlite:///some.db")
    assert "the schema is at" in run(script, "db", "upgrade", *database, cwd=tmp_path)
    assert "as expected" in run(script, "db", "check", *database, cwd=tmp_path)
    for name in ("documented", "edge", "empty"):
        assert run(script, "load", name, *database, cwd=tmp_path).startswith("loaded  ")


def test_installed_alone_it_says_what_postgresql_needs(installed: Path, tmp_path: Path) -> None:
    finished = subprocess.run(
        [str(installed / "cstar-mock"), "keys", "list", "--database", "postgresql://127.0.0.1:1/x"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert finished.returncode == 1
    assert finished.stderr == "cstar-mock: PostgreSQL needs the extra: pip install 'cstar-mock[postgresql]'\n"
