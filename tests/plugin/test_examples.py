"""The examples, as a user runs them: by `cstar-mock exec`, in an environment with nothing but the wheel installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.packaging.test_wheel import UV, build
from tests.packaging.test_wheel import run as succeed
from tests.plugin.conftest import assert_nothing_left, environment


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment with the wheel and its extra `pytest`, from uv's cache."""
    folder = tmp_path_factory.mktemp("examples")
    wheel = build("wheel", ROOT, folder / "wheel")
    light = build("wheel", ROOT / "pytest-cstar-mock", folder / "light")
    succeed(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    python, locked = str(folder / "venv" / "bin" / "python"), str(folder / "pylock.toml")
    export = (UV, "export", "--locked", "--no-dev", "--extra", "pytest", "--no-emit-local")
    succeed(*export, "--format", "pylock.toml", "-o", locked, cwd=ROOT)
    succeed(UV, "pip", "install", "--python", python, "-r", locked, cwd=folder)
    succeed(UV, "pip", "install", "--python", python, "--no-deps", str(wheel), str(light), cwd=folder)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return folder / "venv" / "bin"


def run(commands: Path, temporary: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command beside the copied examples, with the clean environment's commands before all others."""
    done = subprocess.run(
        command,
        cwd=commands.parent.parent,
        env=environment(temporary, PATH=f"{commands}{os.pathsep}{os.environ['PATH']}"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert_nothing_left(temporary)
    return done


def test_python(commands: Path, temporary: Path) -> None:
    done = run(commands, temporary, "cstar-mock", "exec", "--", "pytest", "examples/python")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"=+ 1\d passed in ", done.stdout), done.stdout


def test_javascript(commands: Path, temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("node") is None:
        with capsys.disabled():
            print("\n\n*** There is no Node here: the JavaScript example was NOT tested. ***\n")  # noqa: T201
        pytest.skip("there is no Node here: the JavaScript example was not tested")
    done = run(commands, temporary, "cstar-mock", "exec", "--", "node", "--test", "examples/javascript/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# pass 1\d$", done.stdout, re.MULTILINE), done.stdout


def test_shell(commands: Path, temporary: Path) -> None:
    done = run(commands, temporary, "cstar-mock", "exec", "--", "sh", "examples/shell/overview.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("is resolved: 23 open tickets before, 22 now\n")


def test_they_say_how_to_run_them(commands: Path, temporary: Path) -> None:
    done = run(commands, temporary, "sh", "examples/shell/overview.sh")
    assert done.returncode != 0
    assert "run me with: cstar-mock exec -- sh examples/shell/overview.sh" in done.stderr


def test_the_readme_names_every_command() -> None:
    readme = (ROOT / "examples" / "README.md").read_text()
    for command in ("pytest examples/python", "node --test examples/javascript/", "sh examples/shell/overview.sh"):
        assert f"cstar-mock exec -- {command}" in readme
