"""How fast the overview is, as a share of a FastAPI route that returns constant bytes, in the same run.

    python benchmarks/throughput.py [--rounds 3] [--seconds 4]

One uvicorn worker, 16 connections, everything on: keys, limits, headers, journal, log lines. An answer that is asked
for again is remembered, also that of a running clock, until a row enters or leaves its window. "Computed" asks with
another query each time, while a tenth of a second never goes by without a write to the team. The targets are measured
in turns, and the best round of each counts: on a shared machine the others measure the neighbours.
"""

import argparse
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from _common import Load, cstar_mock, load, python_server, table, write

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


COMPUTED = "overview, computed"


@contextmanager
def _writes(team: str) -> Iterator[None]:
    """Write a row to the team every tenth of a second."""
    done = threading.Event()

    def write_rows() -> None:
        while not done.wait(0.1):
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{team}/customers", b'{"name": "C"}', headers)  # noqa: S310
            urllib.request.urlopen(request).close()  # noqa: S310  (our own server)

    thread = threading.Thread(target=write_rows)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    arguments = parser.parse_args()
    options = ("--secret-rate-limit", "1000000000", "--dataset", "documented", "--dataset", "busy")
    with (
        tempfile.TemporaryDirectory() as folder,
        python_server(BARE) as bare,
        cstar_mock(Path(folder), *options) as ready,
    ):
        teams = {team["slug"]: team for team in ready["teams"]}
        team, busy = teams["acme"], teams["northwind"]
        analytics = f"/api/v1/teams/{team['id']}/analytics"
        computed = f"/api/v1/teams/{busy['id']}/analytics/overview"
        targets = {
            "bare FastAPI route": (bare, "/", None),
            "overview": (ready["url"], f"{analytics}/overview", team["keys"]["sk_live"]),
            "agents": (ready["url"], f"{analytics}/agents", team["keys"]["sk_live"]),
            "overview of a running clock": (ready["url"], computed, busy["keys"]["sk_test"]),
            COMPUTED: (ready["url"], f"{analytics}/overview?n={{number}}", team["keys"]["sk_live"]),
            "401": (ready["url"], f"{analytics}/overview", "wrong"),
        }
        best: dict[str, Load] = {}
        for _ in range(arguments.rounds):
            for name, (url, path, key) in targets.items():
                with _writes(f"{ready['admin_url']}/teams/{team['id']}") if name == COMPUTED else nullcontext():
                    measured = load(url, path, seconds=arguments.seconds, key=key)
                if name not in best or measured.rate > best[name].rate:
                    best[name] = measured
    baseline = best["bare FastAPI route"].rate
    table(
        f"16 connections, one worker, best of {arguments.rounds} rounds",
        ("target", "requests/s", "share", "p50 ms", "p99 ms", "statuses"),
        [(name, round(m.rate), m.rate / baseline, m.p50, m.p99, m.statuses) for name, m in best.items()],
    )
    write("throughput", {name: {**vars(m), "share": m.rate / baseline} for name, m in best.items()})


if __name__ == "__main__":
    main()
