"""The parts that the benchmarks share: servers, a load generator in the same process, tables and JSON."""

import asyncio
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httptools

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Load:
    """The result of a load: requests a second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    statuses: dict[int, int]


class _Client(asyncio.Protocol):
    """One connection that sends a request as soon as the last one is answered.

    A load generator must not be what limits a server on the other core, so nothing here is done in a coroutine.
    """

    def __init__(self, request: bytes, latencies: list[float], statuses: dict[int, int]) -> None:
        self._request = request
        self._latencies = latencies
        self._statuses = statuses
        self._begun = 0.0
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self.send()

    def send(self) -> None:
        self._begun = time.perf_counter()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._latencies.append(time.perf_counter() - self._begun)
        status = self._parser.get_status_code()
        self._statuses[status] = self._statuses.get(status, 0) + 1
        if self._parser.should_keep_alive():
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(exc)


async def _keep_sending(host: str, port: int, *client: Any) -> None:
    """Send requests over one connection, and over another one whenever the server closes it."""
    loop = asyncio.get_running_loop()
    while True:
        transport, protocol = await loop.create_connection(lambda: _Client(*client), host, port)
        try:
            await protocol.lost
        finally:
            transport.abort()


def load(
    url: str, path: str, *, connections: int = 16, seconds: float = 4, key: str | None = None, header: str = ""
) -> Load:
    """Send requests, perhaps with a further header, over keep-alive connections for a while, from a separate process.

    After a server closes a connection, the new one is part of the request's time.
    """
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import _common;"
        "print(json.dumps(_common.run(*json.loads(sys.argv[2]))))"
    )
    arguments = json.dumps([url, path, connections, seconds, key, header])
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    rate, p50, p99, statuses = json.loads(done.stdout)
    return Load(rate, p50, p99, {int(status): count for status, count in statuses.items()})


def run(url: str, path: str, connections: int, seconds: float, key: str | None, header: str) -> list[Any]:
    """Do what `load` promises, in this process."""
    host, port = url.removeprefix("http://").split(":")
    headers = (f"Host: {host}", f"Authorization: Bearer {key}" if key else "", header)
    request = "\r\n".join([f"GET {path} HTTP/1.1", *filter(None, headers), "", ""]).encode()
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def everything() -> None:
        clients = asyncio.gather(
            *(_keep_sending(host, int(port), request, latencies, statuses) for _ in range(connections))
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(clients, seconds)

    try:
        import uvloop  # noqa: PLC0415

        uvloop.run(everything())
    except ImportError:
        asyncio.run(everything())
    ordered = sorted(latencies)
    return [
        len(ordered) / seconds,
        statistics.median(ordered) * 1000,
        ordered[int(len(ordered) * 0.99)] * 1000,
        statuses,
    ]


async def send_all(
    host: str, requests: Iterator[bytes], count: int, connections: int, statuses: dict[int, int]
) -> None:
    """Send a number of requests, over a number of connections at once."""
    left = iter(range(count))

    async def one() -> None:
        address, port = host.split(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        for _ in left:
            writer.write(next(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0]))
            statuses[int(head[9:12])] = statuses.get(int(head[9:12]), 0) + 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))


@contextmanager
def cstar_mock(folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """Run `cstar-mock serve` on a free port, and yield its ready file's content."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cstar_mock", "serve", "--port", "0", "--ready-file", str(ready), *options],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit((folder / "server.log").read_text())
                time.sleep(0.01)
            yield {**json.loads(ready.read_text()), "process": process}
        finally:
            process.terminate()
            process.wait()


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [pid, *map(int, children.split())]


def processor_seconds(pid: int) -> float:
    """Return what a process and its children have taken so far."""
    ticks = 0
    for one in family(pid):
        with suppress(OSError):  # it has ended
            ticks += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def python_server(code: str) -> Iterator[str]:
    """Run a Python program that serves on the port given as its argument, and yield its URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", code, str(port)])
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.01)
        else:
            return


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    texts = [[_text(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[index]) for row in texts) for index in range(len(columns))]
    print(f"\n{title}")
    for row in texts:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _text(cell: object) -> str:
    return f"{cell:,.2f}" if isinstance(cell, float) else str(cell)


def write(name: str, content: dict[str, Any]) -> None:
    """Write the figures as JSON, with what they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine, **content}, indent=2) + "\n")
    print(f"\n  written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
