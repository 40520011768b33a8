"""The time of a start, as a multiple of importing what the server is made of, in the same run.

    python benchmarks/startup.py [--rounds 7]

From the start of the process to the first 200 of the documented overview, against a process that only imports
FastAPI, SQLAlchemy's ORM, slowapi, pydantic-settings and uvicorn. Medians of several rounds, taken in turns. A ratio
above 1.35 is a failure.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

from _common import free_port, table, write

IMPORTS = "import fastapi, sqlalchemy.orm, slowapi, pydantic_settings, uvicorn"
MOST = 1.35
TEAM = "f07114d7-c66e-5709-b0ff-21e45192d472"


def imports() -> float:
    """Return the seconds that the imports take, interpreter included."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - begun


def answer_status(port: int) -> int:
    """Return the status of the documented overview, asked for over a new connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Authorization": "Bearer sk_live_your_key"}
        connection.request("GET", f"/api/v1/teams/{TEAM}/analytics/overview", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def first_answer(folder: Path) -> float:
    """Return the seconds from the start of `serve` to the first 200."""
    port = free_port()
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "cstar_mock", "serve", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
    )
    try:
        while True:
            try:
                assert answer_status(port) == 200
                return time.perf_counter() - begun
            except ConnectionRefusedError:
                time.sleep(0.002)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        imports(), first_answer(Path(folder))  # the first of each reads the disk
        pairs = [(imports(), first_answer(Path(folder))) for _ in range(rounds)]
    importing, serving = (statistics.median(column) for column in zip(*pairs, strict=True))
    table(
        f"median of {rounds} starts",
        ("what", "seconds", "ratio"),
        [("imports alone", importing, 1.0), ("first 200", serving, serving / importing)],
    )
    ratio = serving / importing
    write("startup", {"imports": importing, "first_200": serving, "ratio": ratio})
    if ratio > MOST:
        sys.exit(f"startup: a start takes {ratio:.2f} times as long as the imports alone, which is more than {MOST}")


if __name__ == "__main__":
    main()
