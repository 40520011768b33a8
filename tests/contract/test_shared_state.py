"""Four workers count as one under load: a run of `benchmarks/exactness.py`, which says how."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_four_workers_let_exactly_the_limit_through_fail_exactly_as_often_and_record_each(
    tmp_path: Path, valkey: str
) -> None:
    for name in ("_common.py", "_engines.py", "exactness.py"):  # results are written beside it
        shutil.copy(ROOT / "benchmarks" / name, tmp_path)
    command = [sys.executable, str(tmp_path / "exactness.py"), "--runs", "1", "--state", valkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads((tmp_path / "results" / "exactness.json").read_text())["runs"]
    assert [(run["question"], run["statuses"], run["recorded"]) for run in runs] == [
        ("limit", {"200": 1000, "429": 500}, 1500),
        ("failures", {"200": 1300, "500": 200}, 1500),
        ("failures by chance", {"200": 1300, "500": 200}, 1500),
    ]


def test_a_wrong_number_fails_it(tmp_path: Path, valkey: str) -> None:
    """Fewer requests than the limit can't use it up."""
    for name in ("_common.py", "_engines.py", "exactness.py"):
        shutil.copy(ROOT / "benchmarks" / name, tmp_path)
    options = ("--runs", "1", "--workers", "1", "--requests", "100", "--state", valkey)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "exactness.py"), *options],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "are not exact" in done.stderr
