"""The journal's bound is a bound of memory: a short run of `benchmarks/soak.py`."""

from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from tests.conftest import running

ENTRIES = 200
WARM_UP, REQUESTS = 3_000, 20_000
MOST_GROWTH = 4_000  # KiB


def resident(pid: int) -> int:
    """Return a process's memory in KiB."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def test_after_thousands_of_requests_the_journal_and_the_process_are_as_small_as_before(tmp_path: Path) -> None:
    options = ("--journal-size", str(ENTRIES), "--no-rate-limits", "--log-level", "warning")
    with running(tmp_path, *options) as server, httpx2.Client(base_url=server.url) as client:
        created = client.post("/__admin/teams", json={"clock": "2025-12-10T14:30:00Z"}).json()
        overview = f"/api/v1/teams/{created['id']}/analytics/overview"
        headers = {"Authorization": f"Bearer {created['keys']['sk_test']}", "X-Padding": "x" * 200}
        # A client that costs less than what it asks for.
        connection = HTTPConnection(urlsplit(server.url).netloc)

        def send(count: int) -> None:
            for number in range(count):
                if number % 10 == 0:
                    connection.request("GET", f"{overview}?who={'x' * 100}")
                else:
                    connection.request("GET", overview, headers=headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == (401 if number % 10 == 0 else 200)

        send(WARM_UP)
        before = resident(server.process.pid)
        send(REQUESTS - WARM_UP)
        assert resident(server.process.pid) - before < MOST_GROWTH
        connection.close()
        for path in (f"/__admin/teams/{created['id']}/requests", "/__admin/requests/unmatched"):
            listed = client.get(path, params={"limit": 100_000}).json()
            assert listed["meta"]["total"] == len(listed["requests"]) == ENTRIES
