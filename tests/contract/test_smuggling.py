"""No body is read as a request, and no request as a body: alone, and behind nginx as we ship its configuration."""

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import ROOT, free_port
from tests.contract.corpus import CORPUS, LAST, Message
from tests.contract.test_bounds import Impatient, answers, connect, serving

from cstar_mock.serving.replay_connection import ReplayProtocol

CONTROL = b"GET /__admin/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
NO_HEADERS = "-1"
"""What counts as the number of a message whose requests have no headers: nginx passes on HTTP/0.9."""
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def marked(number: int, raw: bytes) -> bytes:
    """Return a message whose requests, but not what is in its bodies, say the number of the message."""
    return raw.replace(b"Authorization: ", b"X-Case: %d\r\nAuthorization: " % number)


def sent(port: int, number: int, message: Message, cut: int = 0) -> list[int]:
    """Send a message and the last request; return the statuses of all answers until the connection is closed.

    With `cut`, what comes after so many bytes is sent a little later.
    """
    raw = marked(number, message.raw + LAST)
    received = b""
    with connect(port) as connection:
        try:
            connection.sendall(raw[:cut])
            if cut:
                time.sleep(0.002)
            connection.sendall(raw[cut:])
            while data := connection.recv(65536):
                received += data
        except (ConnectionResetError, BrokenPipeError):
            pass  # closed with bytes that nobody has read; the answer has come before
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) [A-Z]", received)]


def recorded(port: int) -> Counter[int]:
    """Return how many requests of each message are in the journals."""
    found: Counter[int] = Counter()
    for path in (b"requests/unmatched", b"teams/acme/requests"):
        ((status, _, body),) = answers(port, CONTROL % path)
        assert status == 200, body
        entries = json.loads(body)["requests"]
        assert len(entries) < 1000
        headers = [entry["request"]["headers"] for entry in entries]
        assert [entry["request"] for entry in entries if entry["request"]["path"] == "/api/smuggled"] == []
        found.update(int(one.get("x-case", NO_HEADERS)) for one in headers)
    return found


def test_the_corpus_has_many_messages_and_each_once() -> None:
    assert len(CORPUS) >= 80
    assert [name for name, times in Counter(message.name for message in CORPUS).items() if times > 1] == []
    assert [name for name, times in Counter(message.raw for message in CORPUS).items() if times > 1] == []


def test_each_message_has_its_one_reading() -> None:
    with serving(Impatient) as port:
        statuses = {message.name: sent(port, number, message) for number, message in enumerate(CORPUS)}
        found = recorded(port)
    assert statuses == {message.name: message.statuses for message in CORPUS}
    assert {message.name: found[number] for number, message in enumerate(CORPUS)} == {
        message.name: message.recorded for message in CORPUS
    }


def test_a_message_has_the_same_reading_in_pieces() -> None:
    """Cut before each of its last bytes, where the end of a head or a body is."""
    with serving(Impatient) as port:
        for message in CORPUS[::7]:
            length = len(marked(0, message.raw))
            for cut in range(length - 3, length + 1):
                assert sent(port, 0, message, cut) == message.statuses, (message.name, cut)


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[int]:
    """Run nginx with the configuration that we ship, on a free port, in front of a server on another."""
    if NGINX is None:
        pytest.fail("this test needs nginx: apt-get install nginx-light, or your system's package of nginx")
    port = free_port()
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for old, new in {
        "listen 8080": f"listen 127.0.0.1:{port}",
        "replica-1:27827": f"127.0.0.1:{upstream}",
        "replica-2:27827": f"127.0.0.1:{upstream}",
        "/tmp/": f"{folder}/",  # noqa: S108  (a container's own)
        "/dev/stdout": f"{folder}/access.log",
        "$upstream_addr": "$upstream_addr $upstream_status case=$http_x_case",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    log = (folder / "error.log").open("w")
    user = "user root; " if folder.owner() == "root" else ""
    process = subprocess.Popen(
        [NGINX, "-p", folder, "-c", folder / "nginx.conf", "-g", f"{user}daemon off;"], stderr=log
    )
    try:
        for _ in range(500):
            assert process.poll() is None, (folder / "error.log").read_text()
            try:
                connect(port).close()
                break
            except OSError:
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def passed_on(folder: Path) -> Counter[int]:
    """Return how many requests of each message nginx has passed on, without those that our connection refused."""
    lines = (folder / "access.log").read_text().splitlines()
    passed = [re.search(r" (\S+) case=(\d+|-) ", line) for line in lines]
    assert all(passed), lines
    return Counter(int(one[2].replace("-", NO_HEADERS)) for one in passed if one and one[1] not in {"-", "400"})


def test_behind_nginx_both_count_the_same_requests(tmp_path: Path) -> None:
    with serving(ReplayProtocol) as upstream:
        with nginx(tmp_path, upstream) as port:
            statuses = {
                message.name: sent(port, number, message)
                for number, message in enumerate(CORPUS)
                if message.behind_proxy
            }
        ours, theirs = recorded(upstream), passed_on(tmp_path)
    different = [number for number in ours | theirs if ours[number] != theirs[number]]
    assert {CORPUS[number].name: (ours[number], theirs[number]) for number in different} == {}
    assert ours.total() > len(CORPUS) / 2
    known = {100, 200, 400, 401, 404, 405, 501, 505}
    assert {name: found for name, found in statuses.items() if not known >= set(found)} == {}


@pytest.mark.parametrize(
    "path",
    [
        "/__admin",
        "/__admin/",
        "/__admin/teams",
        "/__admin/../x",
        "/__admin/../metrics",
        "/__admin/./teams",
        "/__admin//teams",
        "//__admin/teams",
        "/x/../__admin/teams",
        "/x/..//__admin/teams",
        "/__admin%2fteams",
        "/__admin%2f..%2fx",
        "/%5f_admin/teams",
        "/%5F%5Fadmin/teams",
        "/%255f_admin/teams",
        "/__admin/%2e%2e/x",
        "/__admin/%2e%2e/%2e%2e/x",
        "/x/%2e%2e/__admin/teams",
        "/__admin%00",
        "/__admin;x",
        "/__admin?x",
        "/__ADMIN/teams",
        "/%2f__admin/teams",
        "/.%2f__admin/teams",
        "/%2e/__admin/teams",
        "/__admin%20",
        "http://127.0.0.1/__admin/teams",
        "/metrics",
        "/metrics/../x",
        "//metrics",
        "/METRICS",
        "/%6detrics",
        "/metrics/%2e%2e/x",
        "/x/%2e%2e/metrics",
    ],
)
def test_nothing_behind_nginx_reaches_the_control_api_or_the_metrics(proxied: int, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer guessed\r\n\r\n"
    ((status, headers, _),) = answers(proxied, request.encode())
    assert status in {400, 404}
    assert headers["content-type"] in {"text/html", "application/json"}  # nginx's own, or that of an unknown path


@pytest.fixture(scope="module", name="proxied")
def _proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(ReplayProtocol) as upstream, nginx(tmp_path_factory.mktemp("nginx"), upstream) as port:
        yield port
