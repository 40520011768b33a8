"""The cost of a new team for a test, next to a server restarted for every test.

    python benchmarks/fixture.py [--rounds 5] [--teams 100] [--starts 5]

One worker, an in-memory store, a real server in another process, keep-alive connections. Each round makes and deletes
the teams; the tables give the round with the lowest median, as on a shared machine the others measure the
neighbours, and the JSON has every round.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from _common import cstar_mock, table, write

from cstar_mock.testing import serve
from cstar_mock.testing.servers import connected

DOCUMENTED = {
    "overview": {
        "period": "week",
        "tickets": {"total": 142, "open": 23, "resolved": 89},
        "customers": {"total": 450, "active": 120, "new": 15},
        "csat": {"average": 4.2, "totalResponses": 67},
    },
    "agents": [
        {"userId": "usr_abc", "name": "Jane", "ticketsResolved": 45, "avgResponseTime": 12.5, "csatAverage": 4.8}
    ],
}
TARGETS = {"POST /__admin/teams with the documented figures": 10.0, "fixture with the documented figures": 15.0}


class Admin:
    """The control API over one keep-alive connection, with as little around it as Python allows."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"))

    def call(self, method: str, path: str, body: object = None, status: int = 204) -> Any:
        """Send a request, and return the content of the answer."""
        content = None if body is None else json.dumps(body)
        self.connection.request(method, f"/__admin{path}", content, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        assert response.status == status, answer
        return json.loads(answer) if answer else None


def posts(url: str, body: object, count: int) -> list[float]:
    """Return the seconds that each of a number of creations takes; each team is deleted at once."""
    admin, seconds = Admin(url), []
    for _ in range(count):
        begun = time.perf_counter()
        team = admin.call("POST", "/teams", body, 201)
        seconds.append(time.perf_counter() - begun)
        admin.call("DELETE", f"/teams/{team['id']}")
    return seconds


def blocks(make: Callable[[], AbstractContextManager[Any]], count: int) -> list[float]:
    """Return the seconds that entering and leaving a context takes, a number of times."""
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        with make():
            pass
        seconds.append(time.perf_counter() - begun)
    return seconds


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    return {"p50_ms": statistics.median(ordered) * 1000, "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--teams", type=int, default=100)
    parser.add_argument("--starts", type=int, default=5)
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        cstar_mock(Path(folder), "--log-level", "warning", "--dataset", "empty") as ready,
        connected(ready["url"]) as server,
    ):
        posted, built = TARGETS
        targets: dict[str, Callable[[], list[float]]] = {
            "POST /__admin/teams, empty": lambda: posts(ready["url"], {}, arguments.teams),
            posted: lambda: posts(ready["url"], {"answers": DOCUMENTED}, arguments.teams),
            "fixture, empty": lambda: blocks(server.team, arguments.teams),
            built: lambda: blocks(lambda: server.team(answers=DOCUMENTED), arguments.teams),
        }
        for measure in targets.values():
            measure()  # the first teams find code that has never run
        for _ in range(arguments.rounds):
            for name, measure in targets.items():
                rounds.setdefault(name, []).append(quantiles(measure()))
    restarted = quantiles(blocks(serve, arguments.starts))
    rounds["a server restarted for every test"] = [restarted]
    best = {name: min(measured, key=lambda one: one["p50_ms"]) for name, measured in rounds.items()}
    table(
        f"{arguments.teams} teams a round, best of {arguments.rounds} rounds; {arguments.starts} restarts",
        ("what", "p50 ms", "p99 ms", "target p50 ms", "restarts cost"),
        [
            (name, one["p50_ms"], one["p99_ms"], TARGETS.get(name, ""), f"{restarted['p50_ms'] / one['p50_ms']:.0f} x")
            for name, one in best.items()
        ],
    )
    write("fixture", {"targets": TARGETS, "best": best, "rounds": rounds})


if __name__ == "__main__":
    main()
