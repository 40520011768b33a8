"""Whether an answer costs the same however many tickets there are, and how fast they are loaded.

    python benchmarks/growth.py [--engine sqlite|postgresql] [--tickets 1000 100000 5000000] [--rounds 400]

For each number of tickets: a new database, loaded as `cstar-mock generate` does, and a server on it. Overview
and agents are asked for over one connection, each time with another query that means the same, so that none is
remembered. The medians of the smallest and the largest team are compared; those of the service alone, without HTTP,
are beside them.
"""

import argparse
import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from _common import cstar_mock, table, write
from _engines import postgresql
from sqlalchemy import create_engine, text

from cstar_mock.analytics import service
from cstar_mock.contract.clock import parse_instant
from cstar_mock.contract.periods import Period
from cstar_mock.datasets.format import parse
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.store.models import Scope
from cstar_mock.teams.lifecycle import LoadedTeam
from cstar_mock.teams.load import load

NOW = "2025-12-10T14:30:00Z"
MOST_RATIO = 2


def main() -> None:
    """Load, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--tickets", type=int, nargs="+", default=[1_000, 100_000, 5_000_000])
    parser.add_argument("--rounds", type=int, default=400)
    arguments = parser.parse_args()
    measured: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="cstar-mock-growth-") as folder:
        for tickets in arguments.tickets:
            with _database(arguments.engine, Path(folder)) as url:
                measured[tickets] = _measure(url, Path(folder), tickets, arguments.rounds)
                print(f"  {tickets:,} tickets: {measured[tickets]}", file=sys.stderr)
    names = ["overview", "agents", "overview, service", "agents, service"]
    table(
        f"{arguments.engine}: median of {arguments.rounds} answers, each computed, in milliseconds",
        ("tickets", *names, "tickets loaded a second"),
        [
            (f"{tickets:,}", *(f"{m[name]:.3f}" for name in names), round(m["loaded a second"]))
            for tickets, m in measured.items()
        ],
    )
    smallest, largest = measured[min(measured)], measured[max(measured)]
    ratios = {name: largest[name] / smallest[name] for name in names}
    table("largest / smallest", names, [[f"{ratios[name]:.2f}" for name in names]])
    write(f"growth-{arguments.engine}", {"tickets": measured, "ratios": ratios})
    if max(ratios["overview"], ratios["agents"]) > MOST_RATIO:
        sys.exit(f"an answer of the largest team takes more than {MOST_RATIO} times as long as one of the smallest")


def _measure(url: str, folder: Path, tickets: int, rounds: int) -> dict[str, float]:
    database = Database(url)
    if database.embedded:
        migrations.prepare(database)
    else:
        migrations.upgrade(database)
    recipe = {"recipes": [{"tickets": tickets, "seed": 1}]}
    dataset = parse({"dataset": "growth", "teams": [{"slug": "growth", "clock": NOW, "live": recipe}]})
    began = time.perf_counter()
    (team,) = database.write_now(load, dataset)
    result = {"loaded a second": tickets / (time.perf_counter() - began)}
    if not database.embedded:
        with create_engine(database.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))  # as autovacuum does a minute after such a load
    scope, now = Scope(team.id, "live"), parse_instant(NOW)
    result["overview, service"] = _median(rounds, lambda: database.read_now(service.overview, scope, Period.WEEK, now))
    result["agents, service"] = _median(rounds, lambda: database.read_now(service.agents, scope, now))
    database.close()
    options = ("--database", url, "--secret-rate-limit", "1000000000")
    with cstar_mock(folder, *options) as ready:
        result |= _over_http(ready, team, rounds)
    return result


def _over_http(ready: dict[str, Any], team: LoadedTeam, rounds: int) -> dict[str, float]:
    connection = http.client.HTTPConnection(urlsplit(ready["url"]).netloc)
    number = 0

    def get(name: str) -> None:
        nonlocal number
        number += 1
        path = f"/api/v1/teams/{team.id}/analytics/{name}?number={number}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {team.keys['sk_live']}"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200

    return {name: _median(rounds, lambda name=name: get(name)) for name in ("overview", "agents")}


def _median(rounds: int, work: Any) -> float:
    """Return the median duration in milliseconds."""
    durations = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations) * 1000


@contextmanager
def _database(engine: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database, which is gone afterwards."""
    if engine == "sqlite":
        file = folder / "growth.db"
        yield f"sqlite:///{file}"
        for left in folder.glob("growth.db*"):
            left.unlink()
        return
    with tempfile.TemporaryDirectory(prefix="cstar-mock-pg-") as data, postgresql(Path(data)) as server:
        yield server.url


if __name__ == "__main__":
    main()
