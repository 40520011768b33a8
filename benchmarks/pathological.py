"""The longest answer to a request whose head was made to be slow to read.

    python benchmarks/pathological.py [--requests 10000]

Each kind of text is put in turn into each place that the server reads: the headers that mean something to it or to its
libraries, the path and the query string. Everything is on: traces, metrics, the journal, a proxy that is believed.
Sent one after the other on one connection, to the API and to the control API, each as long as a head may be.
"""

import argparse
import itertools
import socket
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from _common import cstar_mock, table, write

NAMES = (
    *("Prefer", "Authorization", "Origin", "Host", "X-Forwarded-For", "X-Forwarded-Proto", "traceparent", "tracestate"),
    *("baggage", "Content-Type", "Content-Length", "Connection", "Upgrade", "Expect", "Transfer-Encoding", "Accept"),
    *("Access-Control-Request-Method", "Access-Control-Request-Headers", "Range", "If-Modified-Since", "X-Anything"),
)
TEXTS = {
    "spaces between commas": lambda size: "," + " " * (size - 2) + ",x"[:2],
    "spaces": lambda size: "a" + " " * (size - 2) + "b",
    "tabs and spaces": lambda size: "a" + "\t " * (size // 2 - 2) + "b",
    "commas": lambda size: "," * size,
    "semicolons": lambda size: "a/b" + ";" * (size - 3),
    "quotes": lambda size: '"' * size,
    "backslashes": lambda size: 'a="' + "\\" * (size - 3),
    "equals signs": lambda size: "a" + "=" * (size - 1),
    "percent signs": lambda size: "%" * size,
    "encoded keys": lambda size: ("sk_live_%41" * size)[:size],
    "prefixes of keys": lambda size: ("sk_live_" * size)[:size],
    "digits": lambda size: "9" * size,
    "brackets": lambda size: "[" * size,
    "colons": lambda size: ":" * size,
    "dots and slashes": lambda size: ("/.." * size)[:size],
    "members": lambda size: ("a=b, " * size)[:size],
    "one letter": lambda size: "a" * size,
}
TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
SIZES = {"path": 8_000, "query": 8_000}
LONGEST = 31_000
"""Bytes of a text in a header; tries of 8,000, too, as some readers ignore what is longer."""


def _head(place: str, text: str, path: str) -> bytes:
    if place == "path":
        path = f"{path}/{text}".replace(" ", "%20").replace("\t", "%09").replace("#", "%23")
    elif place == "query":
        path = f"{path}?period={text}".replace(" ", "%20").replace("\t", "%09").replace("#", "%23")
    lines = "" if place == "Host" else "Host: 127.0.0.1\r\n"
    lines += "" if place == "Authorization" else "Authorization: Bearer sk_live_your_key\r\n"
    lines += TRACE if place != "traceparent" else ""
    lines += "" if place in SIZES else f"{place}: {text}\r\n"
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def _seconds(connection: socket.socket, request: bytes) -> float:
    begun = time.perf_counter()
    connection.sendall(request)
    received = connection.recv(65536)
    while b"\r\n\r\n" not in received and (more := connection.recv(65536)):
        received += more
    return time.perf_counter() - begun


def main() -> None:
    """Send them all, and print the slowest of each place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    requests = parser.parse_args().requests
    slowest: dict[str, tuple[float, str]] = {}
    options = ("--no-rate-limits", "--metrics", "--traces", "--log-level", "error")
    with tempfile.TemporaryDirectory() as folder, cstar_mock(Path(folder), *options) as ready:
        address = urlsplit(ready["url"])
        paths = ("/api/v1/auth/whoami", "/__admin/teams", "/healthz")
        kinds = itertools.product((*NAMES, *SIZES), TEXTS, paths, (LONGEST, 8_000, 500))
        for place, name, path, size in itertools.islice(itertools.cycle(kinds), requests):
            request = _head(place, TEXTS[name](min(size, SIZES.get(place, size))), path)
            with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
                seconds = _seconds(connection, request)
            slowest[place] = max(slowest.get(place, (0.0, "")), (seconds, f"{name}, {size} bytes, {path}"))
    rows = [[place, round(seconds * 1000, 1), what] for place, (seconds, what) in sorted(slowest.items())]
    table(f"{requests} pathological heads", ["place", "longest answer, ms", "text"], rows)
    write("pathological", {"requests": requests, "slowest": slowest})


if __name__ == "__main__":
    main()
