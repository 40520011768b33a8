"""Isolation: many tests side by side against one server, each with a team, clock, faults and answers of its own.

As a command, for many rounds: python -m tests.plugin.test_isolation 20
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.examples import examples
from tests.plugin.conftest import EXEC, PYTEST, environment

TESTS = examples(120)
FILE = f"""
import httpx2, pytest
from datetime import UTC, datetime, timedelta

@pytest.mark.parametrize("n", range({TESTS}))
def test_one_of_many(cstar, n):
    instant = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=n, minutes=n)
    failures, total, customers = n % 4, 3 + n, 1 + n % 7
    cstar.clock.freeze(instant)
    figures = {{
        "tickets": {{"total": total, "open": n % 3, "resolved": n % 2}},
        "customers": {{"total": customers, "active": customers, "new": 0}},
    }}
    cstar.given(overview=figures)
    cstar.rate_limits.set(secret=100 + n)
    if failures:
        cstar.faults.next((429, 500, 503)[n % 3], times=failures, retry_after=1 + n, id="same")
    with httpx2.Client(headers={{"Authorization": f"Bearer {{cstar.secret_key}}"}}) as client:
        answers = [client.get(f"{{cstar.url}}/analytics/overview?period=week") for _ in range(failures + 2)]
        for number, answer in enumerate(answers, 1):
            assert answer.status_code == (200 if number > failures else (429, 500, 503)[n % 3])
            assert answer.headers["X-RateLimit-Limit"] == str(100 + n)
            if number <= failures:
                assert answer.headers["Retry-After"] == str(1 + n)
                assert answer.json()["meta"]["timestamp"] == instant.isoformat().replace("+00:00", "Z")
            else:
                data = answer.json()["data"]
                assert {{"tickets": data["tickets"], "customers": data["customers"]}} == figures
        cstar.clock.advance(days=8)
        assert client.get(f"{{cstar.url}}/analytics/overview?period=week").json()["data"]["tickets"]["total"] == 0
    assert cstar.clock.now() == instant + timedelta(days=8)
    cstar.requests.assert_count(failures + 3)
    cstar.requests.assert_count(failures, status=(429, 500, 503)[n % 3])
    cstar.requests.assert_count(3, status=200)
"""


def run_all(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests once, by four workers, against one server."""
    (folder / "test_many.py").write_text(FILE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [*EXEC, "--", *PYTEST, "-n", "4", "-q"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_many_tests_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    done = run_all(tmp_path)
    assert (done.returncode, f"{TESTS} passed" in done.stdout) == (0, True), done.stdout + done.stderr


def main() -> None:
    """Run them many times over, and say how many rounds failed."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    failed = 0
    begun = time.monotonic()
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            done = run_all(Path(folder))
        failed += done.returncode != 0
        print(f"round {number}: {done.stdout.splitlines()[-1]}", flush=True)  # noqa: T201
        if done.returncode:
            print(done.stdout, done.stderr)  # noqa: T201
    print(f"{rounds} rounds of {TESTS} tests: {failed} failed, {time.monotonic() - begun:.0f} s")  # noqa: T201
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
