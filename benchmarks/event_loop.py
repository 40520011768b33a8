"""The time that the most expensive allowed request of each route keeps another client waiting.

A server runs in a separate process. While one client sends a request, another one asks for `/healthz` again and
again; the longest of its answers is printed for each route. `--rows` makes everything smaller.
"""

import argparse
import json
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from _common import cstar_mock, load, table, write


def requests(rows: int, team: str) -> Iterator[tuple[str, str, str, Any]]:
    """Yield a name, a method, a path and a body, in the order in which they can be sent."""
    recipe = {"tickets": rows // 4 * 3, "customers": rows // 4, "members": 0}
    yield "POST teams, recipe", "POST", "/teams", {"slug": "recipe", "dataset": {"live": {"recipes": [recipe]}}}
    figures = {"total": rows, "open": rows // 2, "resolved": rows // 2}
    overview = {"tickets": figures, "customers": {"total": rows}}
    yield "PUT answers, overview", "PUT", f"/teams/{team}/answers", {"overview": overview}
    yield "GET explain/overview", "GET", f"/teams/{team}/explain/overview?period=year&limit=10000", None
    agents = [{"name": "A", "ticketsResolved": 18} for _ in range(rows // 20)]
    yield "PUT answers, agents", "PUT", f"/teams/{team}/answers", {"agents": agents}
    yield "GET explain/agents", "GET", f"/teams/{team}/explain/agents?limit=10000", None
    customers = [{"id": f"c{n}"} for n in range(rows // 10)]
    yield "POST customers", "POST", f"/teams/{team}/customers?environment=live", customers
    tickets = [{"customerId": f"c{n}", "createdAt": "-1d"} for n in range(rows // 10)]
    yield "POST tickets", "POST", f"/teams/{team}/tickets?environment=live", tickets
    yield "GET tickets", "GET", f"/teams/{team}/tickets?limit=1000&environment=live", None
    rules = [{"status": 500, "body": [0] * 1_100} for _ in range(100)]
    yield "PUT faults", "PUT", f"/teams/{team}/faults", rules
    yield "GET faults", "GET", f"/teams/{team}/faults", None
    yield "GET requests", "GET", f"/teams/{team}/requests?limit=100000", None
    yield "POST requests/find", "POST", f"/teams/{team}/requests/find?limit=100000", {"query": "period=week"}
    yield "POST requests/count", "POST", f"/teams/{team}/requests/count", {"query": "period=week"}
    yield "POST reset of everything", "POST", "/reset", None
    yield "DELETE teams", "DELETE", "/teams/recipe", None


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Pinger:
    """Asks for `/healthz` in a separate thread, and remembers the longest wait in seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            began = time.perf_counter()
            _DIRECT.open(f"{self._url}/healthz").read()
            self.longest = max(self.longest, time.perf_counter() - began)
            time.sleep(0.001)


def _send(url: str, method: str, path: str, body: Any) -> tuple[int, float]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310  (our own server)
        f"{url}/__admin{path}", data, {"Content-Type": "application/json"}, method=method
    )
    began = time.perf_counter()
    try:
        with _DIRECT.open(request) as response:
            response.read()
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    return status, time.perf_counter() - began


def _create_team(url: str, slug: str) -> str:
    """Create a team without limits, and return a secret key of it."""
    team = {"slug": slug, "rateLimits": {"enabled": False}}
    request = urllib.request.Request(  # noqa: S310  (our own server)
        f"{url}/__admin/teams", json.dumps(team).encode(), {"Content-Type": "application/json"}
    )
    with _DIRECT.open(request) as response:
        return str(json.load(response)["keys"]["sk_test"])


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows in the largest request")
    arguments = parser.parse_args()
    measured = {}
    options = ("--journal-size", str(arguments.rows // 2))
    with tempfile.TemporaryDirectory() as folder, cstar_mock(Path(folder), *options) as ready:
        url = ready["url"]
        key = _create_team(url, "bench")
        load(url, "/api/v1/auth/whoami?period=week", seconds=arguments.rows / 5_000, key=key)
        for name, method, path, body in requests(arguments.rows, "bench"):
            with _Pinger(url) as pinger:
                status, seconds = _send(url, method, path, body)
            measured[name] = {"status": status, "seconds": seconds, "longest wait": pinger.longest}
    lines = [
        [name, str(one["status"]), f"{one['seconds'] * 1000:.0f}", f"{one['longest wait'] * 1000:.0f}"]
        for name, one in measured.items()
    ]
    table("The longest wait of another client, in milliseconds", ["request", "status", "took", "longest wait"], lines)
    write("event-loop", measured)


if __name__ == "__main__":
    main()
