"""The speed of the overview, as a share of a FastAPI route that returns constant bytes, in the same run.

    python benchmarks/throughput.py [--rounds 15] [--seconds 0.7]

One uvicorn worker, 64 connections, everything on: keys, limits, headers, journal, metrics, log lines. An answer that is
asked for again is remembered, also that of a running clock, until a row enters or leaves its window. "Written to in
between" is a database file that another process writes to all the time, more often than it is asked: each answer needs
the key and the figures again. "Computed each time" sends a preference that means nothing here, so that
each request goes through the router to the database. The targets are measured in turns, each right after the bare
route; the share of a target is the median, over the rounds, of its share of the bare route just before, as on a shared
machine the neighbours slow down everything for a while.
"""

import argparse
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from _common import Load, cstar_mock, load, processor_seconds, python_server, table, write
from _engines import postgresql, valkey

BARE = """
import sys, uvicorn
from fastapi import FastAPI
from starlette.responses import Response
app = FastAPI()
@app.get("/")
async def constant() -> Response:
    return Response(b'{"success":true}', media_type="application/json")
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


WRITE = """
import sqlite3, sys, time
team = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in "PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF", "PRAGMA busy_timeout = 5000":
    team.execute(statement)
while True:
    for _ in range(3):
        team.execute("UPDATE teams SET revision = revision + 1")
    time.sleep(0.0002)  # on two cores, it would else take the server's or the load generator's
"""
CONNECTIONS = 64
TWO_WORKERS = "overview, two workers"
POSTGRESQL = "overview, PostgreSQL alone"
BARE_ROUTE = "bare FastAPI route"
COMPUTED = "overview, computed each time"
WRITTEN = "overview, written to in between"


@contextmanager
def _writes(file: Path) -> Iterator[None]:
    """Write to all teams, some thousand times a second."""
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(file)])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _revision(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT max(revision) FROM teams").fetchone()[0])


@contextmanager
def _sandbox(folder: Path, *options: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, int]]]:
    """Run one worker on PostgreSQL, and two on PostgreSQL and Valkey.

    Yields:
        The ready file's content of both, and the main process of each part of the latter.
    """
    for name in ("rows", "alone"):
        (folder / name).mkdir(mode=0o700)
    with postgresql(folder / "rows") as database, valkey() as state:
        upgrade = [sys.executable, "-m", "cstar_mock", "db", "upgrade", "--database", database.url]
        subprocess.run(upgrade, check=True, stdout=subprocess.DEVNULL)
        shared = ("--database", database.url, "--state", state.url, "--workers", "2")
        with (
            cstar_mock(folder, *options, *shared) as ready,
            cstar_mock(folder / "alone", *options, "--database", database.url) as alone,
        ):
            parts = {"workers": ready["process"].pid, "PostgreSQL": database.pid, "Valkey": state.pid}
            yield alone, ready, parts


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.7)
    arguments = parser.parse_args()
    options = ("--secret-rate-limit", "1000000000", "--dataset", "documented", "--metrics")
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as other_folder,
        python_server(BARE) as bare,
        cstar_mock(Path(folder), *options, "--dataset", "busy") as ready,
        cstar_mock(Path(other_folder), *options, "--database", f"sqlite:///{other_folder}/shared.db") as shared,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as third_folder,
        _sandbox(Path(third_folder), *options) as (alone, sandbox, parts),
    ):
        file = Path(other_folder) / "shared.db"
        teams = {team["slug"]: team for team in ready["teams"]}
        team, busy = teams["acme"], teams["northwind"]
        analytics = f"/api/v1/teams/{team['id']}/analytics"
        running = f"/api/v1/teams/{busy['id']}/analytics/overview"
        key = team["keys"]["sk_live"]
        targets = {
            "overview": (ready["url"], f"{analytics}/overview", key),
            "agents": (ready["url"], f"{analytics}/agents", key),
            "overview of a running clock": (ready["url"], running, busy["keys"]["sk_test"]),
            WRITTEN: (shared["url"], f"{analytics}/overview", key),
            COMPUTED: (shared["url"], f"{analytics}/overview", key),
            POSTGRESQL: (alone["url"], f"{analytics}/overview", key),
            TWO_WORKERS: (sandbox["url"], f"{analytics}/overview", key),
            "401": (ready["url"], f"{analytics}/overview", "wrong"),
        }
        loads: dict[str, list[Load]] = {name: [] for name in (BARE_ROUTE, *targets)}
        shares: dict[str, list[float]] = {name: [] for name in targets}
        taken = dict.fromkeys(parts, 0.0)
        for _ in range(arguments.rounds):
            for name, (url, path, sent) in targets.items():
                constant = load(bare, "/", connections=CONNECTIONS, seconds=arguments.seconds)
                before = _revision(file)
                began = {part: processor_seconds(pid) for part, pid in parts.items()}
                with _writes(file) if name == WRITTEN else nullcontext():
                    header = "Prefer: handling=lenient" if name == COMPUTED else ""
                    measured = load(
                        url, path, connections=CONNECTIONS, seconds=arguments.seconds, key=sent, header=header
                    )
                writes, answers = _revision(file) - before, sum(measured.statuses.values())
                if name == WRITTEN and writes < answers:
                    sys.exit(f"only {writes} writes for {answers} answers: some may have been remembered")
                if name == TWO_WORKERS:
                    for part, pid in parts.items():
                        taken[part] += processor_seconds(pid) - began[part]
                loads[BARE_ROUTE].append(constant)
                loads[name].append(measured)
                shares[name].append(measured.rate / constant.rate)
    share = {BARE_ROUTE: 1.0} | {name: statistics.median(some) for name, some in shares.items()}
    best = {name: max(some, key=lambda load: load.rate) for name, some in loads.items()}
    table(
        f"{CONNECTIONS} connections, one worker; share: median of {arguments.rounds} rounds, the rest: the best one",
        ("target", "share", "requests/s", "p50 ms", "p99 ms", "statuses"),
        [(name, share[name], round(m.rate), m.p50, m.p99, m.statuses) for name, m in best.items()],
    )
    answers = sum(sum(load.statuses.values()) for load in loads[TWO_WORKERS])
    table(
        "two workers on PostgreSQL and Valkey: processor time of an answer, in milliseconds",
        tuple(taken),
        [[seconds / answers * 1000 for seconds in taken.values()]],
    )
    write("throughput", {name: {**vars(m), "share": share[name]} for name, m in best.items()})


if __name__ == "__main__":
    main()
