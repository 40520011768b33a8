"""The way out under load: whatever was sent to the server is answered, whenever the signal comes."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.conftest import Server, running
from tests.contract.test_server import BEARER, KEY

CLIENTS = 24
MOST_SECONDS = 5.0


class Load:
    """Clients that never stop asking, and what became of their requests."""

    def __init__(self, server: Server) -> None:
        address = urlsplit(server.path("overview"))
        self.host, self.port = address.hostname, address.port
        self.request = f"GET {address.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
        self.seen: Counter[str] = Counter()

    async def keep_asking(self, most: int) -> None:
        """Open one connection after the other, with up to so many requests on each, until none is accepted."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
            except OSError:
                self.seen["refused"] += 1
                return
            for _ in range(most):
                if not await self._ask(reader, writer):
                    break
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request, and say whether another one may follow on the connection."""
        if reader.at_eof():
            self.seen["closed while idle"] += 1
            return False
        writer.write(self.request)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.seen[f"lost: {error!r}"] += 1
            return False
        self.seen[head[:15].decode()] += 1
        if b"connection: close" in head.lower():
            self.seen["told to close"] += 1
            return False
        return True


async def under_load(server: Server, *, send: signal.Signals, after: int) -> Counter[str]:
    """Let clients hammer a server, end it after so many answers, and return what they saw."""
    load = Load(server)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            # A third of them take a new connection for each request, so that there always are some in the queue.
            group.create_task(load.keep_asking(1 if number % 3 == 0 else 1_000_000))
        while load.seen["HTTP/1.1 200 OK"] < after:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        server.process.send_signal(send)
    return load.seen


@pytest.mark.parametrize("after", [50, 400])
@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_is_lost_when_the_server_ends_under_load(
    workers: int, after: int, tmp_path: Path, valkey: str
) -> None:
    database = f"sqlite:///{tmp_path / 'drain.db'}"
    options = ["--workers", str(workers), "--database", database, "--dataset", "documented", "--log-level", "warning"]
    with running(tmp_path, *options, "--state", valkey, "--no-rate-limits") as server:
        seen = asyncio.run(under_load(server, send=signal.SIGTERM, after=after))
        began = time.monotonic()
        assert server.process.wait(10) == 0
        assert time.monotonic() - began < MOST_SECONDS
    assert not [what for what in seen if what.startswith("lost")], seen
    assert seen["HTTP/1.1 200 OK"] >= after
    assert seen["refused"] == CLIENTS
    assert seen["told to close"] > 0


def test_on_the_way_out_readiness_says_so_and_what_is_sent_is_answered(tmp_path: Path) -> None:
    with running(tmp_path) as server, httpx2.Client() as client:
        assert client.get(f"{server.url}/readyz").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not _refused(server):
            assert time.monotonic() < deadline
        answer = client.get(f"{server.url}/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "draining"})
        assert answer.headers["Connection"] == "close"
        assert server.process.wait(5) == 0


def _refused(server: Server) -> bool:
    try:
        httpx2.get(server.url, headers=BEARER, timeout=0.1)
    except httpx2.ConnectError:
        return True
    except httpx2.TimeoutException:
        return False
    return False
