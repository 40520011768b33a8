"""A short soak: the journals and the memory stay within their bounds (a million requests: benchmarks/soak.py)."""

import json
import shutil
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.plugin.conftest import Run


def test_ten_thousand_requests_stay_within_bounds(run: Run, tmp_path: Path) -> None:
    for name in ("_common.py", "_engines.py", "soak.py"):  # results are written beside it
        shutil.copy(ROOT / "benchmarks" / name, tmp_path)
    done = run(sys.executable, "soak.py", "--requests", "10000", "--teams", "4", "--samples", "4", "--ceiling-mb", "16")
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads((tmp_path / "results" / "soak.json").read_text())["samples"][-1]
    assert (last["requests"], last["fullest_journal"], last["journal"]) == (10_000, 1000, 4000)


def test_a_bound_that_does_not_hold_fails_it(run: Run, tmp_path: Path) -> None:
    for name in ("_common.py", "_engines.py", "soak.py"):
        shutil.copy(ROOT / "benchmarks" / name, tmp_path)
    done = run(sys.executable, "soak.py", "--requests", "400", "--teams", "1", "--samples", "4", "--ceiling-mb", "-1")
    assert done.returncode == 1
    assert "memory grew by" in done.stderr
