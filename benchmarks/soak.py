"""Whether the server stays within its bounds: the journal and the memory after a million requests.

    python benchmarks/soak.py [--requests 1000000] [--teams 200] [--connections 16] [--ceiling-mb 64] [--minutes 20]
                              [--sandbox]

One worker, an in-memory store, everything on: limits, journal, each team with its own clock, every fifth with a
fault rule that fails now and then. The requests go to all teams in turns, over keep-alive connections, and carry the
headers that a client sends. Memory is the server's resident set; it is allowed to grow until every journal is full,
and from then on by the ceiling at most. With `--minutes`, the same at half load for so long: after each batch of
requests, rows are written to some teams, and the server rests for as long as the batch took; in the last quarter of the
time, memory may be 3 % above the second quarter at most. With `--sandbox`, two workers on PostgreSQL and Valkey; memory
is that of the supervisor and both workers. Exits with 1 if a bound does not hold.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from _common import cstar_mock, family, send_all, table, write
from _engines import postgresql, valkey

from cstar_mock.bounds import MOST_JOURNAL_ENTRIES
from cstar_mock.testing import Team
from cstar_mock.testing.servers import Server, connected

JOURNAL_SIZE = 1000
HEADERS = "User-Agent: soak/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
FIGURES = {"tickets": {"total": 5, "open": 2, "resolved": 3}}
MOST_GROWTH = 0.03
BATCH = 20_000
SAMPLE_SECONDS = 15
NOW_AND_THEN = {"status": 500, "probability": 0.01, "seed": 7}


@dataclass(frozen=True)
class Sample:
    """The state of the server at one moment."""

    requests: int
    seconds: float
    resident_mb: float
    journal: int
    fullest_journal: int


def resident_mb(pid: int) -> float:
    """Return the resident sets of a process and its children in megabytes."""
    return sum(_resident_mb(one) for one in family(pid))


def _resident_mb(pid: int) -> float:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextmanager
def sandbox(folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """Run two workers on PostgreSQL and Valkey, and yield the ready file's content."""
    (folder / "rows").mkdir(mode=0o700)
    with postgresql(folder / "rows") as database, valkey() as state:
        upgrade = [sys.executable, "-m", "cstar_mock", "db", "upgrade", "--database", database.url]
        subprocess.run(upgrade, check=True, stdout=subprocess.DEVNULL)
        shared = ("--database", database.url, "--state", state.url, "--workers", "2")
        with cstar_mock(folder, *options, *shared) as ready:
            yield ready


def make_teams(server: Server, count: int) -> list[Team]:
    """Create teams with figures, a clock and, every fifth, a fault rule."""
    teams = []
    for number in range(count):
        team = server.create_team(clock="2025-12-10T14:30:00Z", answers={"overview": FIGURES})
        team.clock.advance(hours=number % 24)
        if number % 5 == 0:
            team.faults.add(NOW_AND_THEN)
        teams.append(team)
    return teams


def requests_of(host: str, teams: list[Team]) -> Iterator[bytes]:
    """Yield requests, one team after the other, endlessly; every tenth is refused."""
    made = []
    for number, team in enumerate(teams * 10):
        path = f"/api/v1/teams/{team.team_id}/analytics/{'agents' if number % 4 == 0 else 'overview?period=week'}"
        key = team.publishable_key if number % 10 == 0 else team.secret_key
        made.append(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{HEADERS}Authorization: Bearer {key}\r\n\r\n".encode())
    return cycle(made)


def sample(pid: int, teams: list[Team], requests: int, seconds: float) -> Sample:
    """Return what the server is now."""
    counts = [team.requests.count() for team in teams]
    return Sample(requests, seconds, resident_mb(pid), sum(counts), max(counts))


def complaints(samples: list[Sample], ceiling_mb: float) -> list[str]:
    """Return which bounds did not hold."""
    full = max(sample.journal for sample in samples)
    warm = next(sample for sample in samples if sample.journal >= 0.99 * full)
    growth = max(sample.resident_mb for sample in samples) - warm.resident_mb
    fullest = max(sample.fullest_journal for sample in samples)
    found = []
    if fullest > JOURNAL_SIZE:
        found.append(f"a journal has {fullest} entries, more than {JOURNAL_SIZE}")
    if full > MOST_JOURNAL_ENTRIES:
        found.append(f"all journals have {full} entries, more than {MOST_JOURNAL_ENTRIES}")
    if growth > ceiling_mb:
        found.append(f"memory grew by {growth:.1f} MB after the journals were full, more than {ceiling_mb:.1f} MB")
    return found


def rest(teams: list[Team], number: int, seconds: float) -> None:
    """Write some rows, so that answers have to be computed again, and let the server rest."""
    begun = time.perf_counter()
    for team in teams[number % 10 :: 10]:
        ticket = team.rows("tickets")[0]["id"]
        team.change("tickets", ticket, status="resolved")
        team.change("tickets", ticket, status="open")
    time.sleep(max(0.0, seconds - (time.perf_counter() - begun)))


def half_load(
    host: str, requests: Iterator[bytes], teams: list[Team], arguments: argparse.Namespace, pid: int
) -> tuple[list[Sample], dict[int, int]]:
    """Send batches of requests, each followed by as long a rest, until the minutes are over."""
    statuses: dict[int, int] = {}
    begun = time.perf_counter()
    samples = [sample(pid, teams, 0, 0)]
    sent = number = 0
    while (elapsed := time.perf_counter() - begun) < arguments.minutes * 60:
        asyncio.run(send_all(host, requests, BATCH, arguments.connections, statuses))
        sent, number = sent + BATCH, number + 1
        rest(teams, number, time.perf_counter() - begun - elapsed)
        if time.perf_counter() - begun - samples[-1].seconds >= SAMPLE_SECONDS:
            samples.append(sample(pid, teams, sent, time.perf_counter() - begun))
    return samples, statuses


def judge_half_load(samples: list[Sample], statuses: dict[int, int]) -> None:
    """Print what memory was in each quarter of the time, and exit with 1 if it grew."""
    ends = [samples[-1].seconds * quarter / 4 for quarter in range(5)]
    means = [
        statistics.mean(one.resident_mb for one in samples if begin < one.seconds <= end)
        for begin, end in pairwise(ends)
    ]
    growth = means[3] / means[1] - 1
    last, answers = samples[-1], dict(sorted(statuses.items()))
    table(
        f"{last.requests:,} requests in {last.seconds / 60:.1f} minutes; answers: {answers}",
        ("first quarter, MB", "second", "third", "last", "last above second"),
        [(*means, f"{growth:.1%}")],
    )
    write("soak-minutes", {"statuses": statuses, "quarters": means, "samples": [asdict(one) for one in samples]})
    if growth > MOST_GROWTH or set(statuses) - {200, 403, 500}:
        sys.exit("memory grew, or something else was answered than 200, 403 and the failures asked for")


def main() -> None:
    """Measure, print, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--teams", type=int, default=200)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--ceiling-mb", type=float, default=64)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--sandbox", action="store_true")
    arguments = parser.parse_args()
    options = [
        *("--log-level", "error", "--dataset", "empty", "--journal-size", str(JOURNAL_SIZE)),
        # Limits are counted, but do not bite: a refused request would cost less than an answered one.
        *("--secret-rate-limit", "1000000000", "--publishable-rate-limit", "1000000000"),
    ]
    statuses: dict[int, int] = {}
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        (sandbox if arguments.sandbox else cstar_mock)(Path(folder), *options) as ready,
        connected(ready["url"]) as server,
    ):
        teams = make_teams(server, arguments.teams)
        host = ready["url"].removeprefix("http://")
        requests = requests_of(host, teams)
        if arguments.minutes is not None:
            samples, statuses = half_load(host, requests, teams, arguments, ready["pid"])
            judge_half_load(samples, statuses)
            return
        begun = time.perf_counter()
        samples = [sample(ready["pid"], teams, 0, 0)]
        for number in range(arguments.samples):
            until = arguments.requests * (number + 1) // arguments.samples
            asyncio.run(send_all(host, requests, until - samples[-1].requests, arguments.connections, statuses))
            samples.append(sample(ready["pid"], teams, until, time.perf_counter() - begun))
            print(f"  {until:>9,} requests, {samples[-1].resident_mb:,.1f} MB", flush=True)
    quarters = [samples[round(quarter * arguments.samples / 4)] for quarter in range(5)]
    table(
        f"{arguments.requests:,} requests to {arguments.teams} teams; answers: {dict(sorted(statuses.items()))}",
        ("requests", "seconds", "memory MB", "journal entries", "fullest journal"),
        [tuple(asdict(one).values()) for one in quarters],
    )
    found = complaints(samples, arguments.ceiling_mb)
    write("soak", {"statuses": statuses, "complaints": found, "samples": [asdict(one) for one in samples]})
    if found:
        sys.exit("\n".join(found))
    print(f"  journals within {JOURNAL_SIZE} entries; memory within {arguments.ceiling_mb:.0f} MB once they were full")


if __name__ == "__main__":
    main()
