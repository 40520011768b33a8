"""Real commands in processes of their own, and what they leave behind."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cstar_mock.serving.server_process import VARIABLES

EXEC = [sys.executable, "-m", "cstar_mock", "exec"]
PYTEST = [
    *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
    # Other plugins of this environment take longer to import than most of these runs take.
    *("-p", "no:schemathesis", "-p", "no:hypothesispytest"),
]
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment without a server around it, and with a folder of its own for temporary files."""
    outside = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**outside, "TMPDIR": str(folder), **more}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files, with a short name, as sockets need it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def run(tmp_path: Path, temporary: Path) -> Run:
    """Run a command in the test's folder, until it ends."""

    def run_(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment(temporary, **more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_


def servers(temporary: Path) -> list[str]:
    """Return the command lines of the servers that were started with this folder for temporary files."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"TMPDIR={temporary}\0".encode() in (folder / "environ").read_bytes():
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if "end_when_alone()" in line or "--exit-on-stdin-eof" in line:
                    found.append(line)
        except OSError:
            continue
    return found


def assert_nothing_left(temporary: Path) -> None:
    """Assert that no server runs any more, and that no file of one is left."""
    assert servers(temporary) == []
    assert list(temporary.glob("cstar-mock-*")) == []


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Return the numbers in pytest's last line."""
    found = re.findall(r"(\d+) (passed|failed|error|skipped|warning)", done.stdout.splitlines()[-1])
    return {name: int(count) for count, name in found}
