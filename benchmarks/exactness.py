"""Whether several workers count as one: limits, failures and the journal under load.

    python benchmarks/exactness.py [--runs 10] [--workers 4] [--connections 64] [--requests 1500]
        [--engine sqlite|postgresql | --database URL] [--state URL]

One database (without `--database` one of our own), one Valkey (without `--state` one of our own), and a new team for
each run and question. Of the requests, sent over keep-alive connections as fast as they are answered, exactly
1,000 may be within the limit, and exactly 200 may fail as a rule says, whether always or by chance; the journal must
have each once. Exits with 1 if one number differs.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from _common import cstar_mock, send_all, table, write
from _engines import postgresql, valkey

from cstar_mock.testing.servers import Server, connected

LIMIT, FAILURES = 1_000, 200
QUESTIONS: dict[str, dict[str, Any] | None] = {
    "limit": None,
    "failures": {"status": 500, "failRequestCount": FAILURES, "succeedFirst": 100},
    "failures by chance": {"status": 500, "failRequestCount": FAILURES, "probability": 0.5},
}


@dataclass(frozen=True)
class Run:
    """The result of one load of one team."""

    question: str
    statuses: dict[int, int]
    expected: dict[int, int]
    recorded: int
    seconds: float


def ask(question: str, server: Server, connections: int, requests: int) -> Run:
    """Load a new team, and return what was answered and recorded."""
    team = server.create_team(clock="2025-12-10T14:30:00Z")
    rule = QUESTIONS[question]
    if rule is None:
        expected = {200: LIMIT, 429: requests - LIMIT}
    else:
        team.rate_limits.set(secret=2 * requests)
        team.faults.add(rule)
        expected = {200: requests - FAILURES, 500: FAILURES}
    host = server.url.removeprefix("http://")
    path = f"/api/v1/teams/{team.team_id}/analytics/overview"
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {team.secret_key}\r\n\r\n".encode()
    statuses: dict[int, int] = {}
    begun = time.perf_counter()
    asyncio.run(send_all(host, repeat(request), requests, connections, statuses))
    seconds = time.perf_counter() - begun
    ids = {entry["id"] for entry in team.requests.all()}
    return Run(question, dict(sorted(statuses.items())), expected, len(ids), seconds)


def main() -> None:
    """Ask, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--database", help="of `cstar-mock serve`; it is upgraded first")
    parser.add_argument("--state")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        state = arguments.state or stack.enter_context(valkey()).url
        if arguments.database is not None:
            database = arguments.database
        elif arguments.engine == "sqlite":
            database = f"sqlite:///{folder}/shared.db"
        else:
            database = stack.enter_context(postgresql(Path(stack.enter_context(tempfile.TemporaryDirectory())))).url
        subprocess.run([sys.executable, "-m", "cstar_mock", "db", "upgrade", "--database", database], check=True)
        # A busy machine may be slow; a request that was counted and then given up would be no wrong count.
        options = ("--workers", str(arguments.workers), "--state", state, "--state-timeout", "30")
        bounds = ("--secret-rate-limit", str(LIMIT), "--journal-size", str(arguments.requests), "--log-level", "error")
        ready = stack.enter_context(cstar_mock(folder, "--database", database, *options, *bounds))
        server = stack.enter_context(connected(ready["url"]))
        runs = [
            ask(question, server, arguments.connections, arguments.requests)
            for _ in range(arguments.runs)
            for question in QUESTIONS
        ]
    table(
        f"{arguments.workers} workers, {arguments.connections} connections, {arguments.requests} requests a run",
        ("question", "statuses", "recorded", "seconds"),
        [(run.question, run.statuses, run.recorded, run.seconds) for run in runs],
    )
    write("exactness", {"runs": [asdict(run) for run in runs]})
    wrong = [run for run in runs if run.statuses != run.expected or run.recorded != arguments.requests]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(runs)} runs are not exact; expected {wrong[0].expected}")


if __name__ == "__main__":
    main()
