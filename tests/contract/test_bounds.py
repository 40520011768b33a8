"""What one client may take of the server: sizes, time and connections are bounded, and each refusal says so."""

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
import uvicorn
from tests.conftest import running

from cstar_mock import Settings, create_app
from cstar_mock.bounds import LONGEST_BODY, LONGEST_CONTROL_BODY, LONGEST_HEAD, LONGEST_TARGET
from cstar_mock.serving.connection import BoundedProtocol
from cstar_mock.serving.replay_connection import ReplayProtocol
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.teams.load import load_datasets

WHOAMI = b"GET /api/v1/auth/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n"
KEY = b"Authorization: Bearer sk_live_your_key\r\n"
GOOD = WHOAMI + KEY + b"\r\n"
Response = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def _no_crash(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Assert that nothing of this makes the server log an error: the server of most tests is in this process."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


class Impatient(ReplayProtocol):
    """A connection that a test need not wait for."""

    head_seconds = 0.4
    stall_seconds = 0.4
    linger_seconds = 0.4


@contextmanager
def serving(protocol: type[BoundedProtocol], most_connections: int = 1000) -> Iterator[int]:
    """Serve an application in a thread, on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    database = Database("sqlite://")
    migrations.prepare(database)
    load_datasets(database, ["documented"])
    app = create_app(Settings(rate_limits=False), database)
    config = uvicorn.Config(
        app, http=protocol, ws="none", log_config=None, access_log=False, limit_concurrency=most_connections
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        database.close()
        assert not thread.is_alive()


@pytest.fixture(scope="module", name="port")
def _port() -> Iterator[int]:
    with serving(Impatient) as port:
        yield port


def connect(port: int) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def responses(connection: socket.socket) -> list[Response]:
    """Return what comes until the server closes the connection."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return parsed(received)


def answer(connection: socket.socket) -> Response:
    """Return the next answer of a connection that stays open; its head and its body may come in several packets."""
    received = b""
    while (head_end := received.find(b"\r\n\r\n")) < 0 or len(received) < head_end + 4 + _length(received[:head_end]):
        data = connection.recv(65536)
        assert data, received
        received += data
    (response,) = parsed(received)
    return response


def _length(head: bytes) -> int:
    length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
    return int(length[1]) if length else 0


def parsed(received: bytes) -> list[Response]:
    """Return the answers that these bytes are."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        found.append((int(status_line.split()[1]), headers, rest[:length]))
        received = rest[length:]
    return found


def answers(port: int, *parts: bytes) -> list[Response]:
    """Send these parts on one connection, and return what comes back until it is closed."""
    with connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        return responses(connection)


def assert_refused(response: Response, status: int, code: str) -> None:
    """Assert that this is the envelope of a refusal, and the last answer of its connection."""
    answered, headers, body = response
    assert answered == status, body
    assert headers["content-type"] == "application/json"
    assert headers["connection"] == "close"
    content = json.loads(body)
    assert list(content) == ["success", "error", "meta"]
    assert content["error"]["code"] == code
    assert content["error"]["request_id"] == headers["x-request-id"]
    assert re.fullmatch(r"req_[A-Za-z0-9]{12}", headers["x-request-id"])


def close(request: bytes) -> bytes:
    """Return the request, as the last one of its connection."""
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def padded(size: int) -> bytes:
    """Return a good request whose target and headers have this size together, as the server counts it."""
    start = close(WHOAMI + KEY + b"X-Long: ")
    _, target, _ = start.split(b" ", 2)
    lines = start.split(b"\r\n")[1:]
    counted = len(target) + sum(len(line) - 2 for line in lines)
    return start + b"x" * (size - counted) + b"\r\n\r\n"


@pytest.mark.states("bound.head", "errors.headers_too_large")
def test_a_head_may_have_the_allowed_size_and_not_a_byte_more(port: int) -> None:
    ((status, _, _),) = answers(port, padded(LONGEST_HEAD))
    assert status == 200
    (refused,) = answers(port, padded(LONGEST_HEAD + 1))
    assert_refused(refused, 431, "headers_too_large")


def test_a_head_may_have_a_hundred_headers(port: int) -> None:
    start = close(WHOAMI + KEY)
    ((status, _, _),) = answers(port, start + b"a: b\r\n" * 97 + b"\r\n")
    assert status == 200
    (refused,) = answers(port, start + b"a: b\r\n" * 98 + b"\r\n")
    assert_refused(refused, 431, "headers_too_large")


@pytest.mark.states("bound.target", "errors.uri_too_long")
def test_a_target_may_have_the_allowed_size_and_not_a_byte_more(port: int) -> None:
    path = b"/api/v1/auth/whoami?"
    longest = close(GOOD.replace(path[:-1], path + b"q" * (LONGEST_TARGET - len(path))))
    ((status, _, _),) = answers(port, longest)
    assert status == 200
    (refused,) = answers(port, longest.replace(b"?q", b"?qq"))
    assert_refused(refused, 414, "uri_too_long")


@pytest.mark.parametrize(
    ("endless", "status"), [(b"GET /" + b"x" * 70_000, 414), (WHOAMI + b"X: " + b"x" * 70_000, 431)]
)
def test_a_head_without_an_end_is_refused_before_its_end(port: int, endless: bytes, status: int) -> None:
    (refused,) = answers(port, *(endless[at : at + 7000] for at in range(0, len(endless), 7000)))
    assert refused[0] == status


@pytest.mark.states("bound.body", "errors.content_too_large")
@pytest.mark.parametrize("path", [b"/api/v1/auth/whoami", b"/nothing", b"//__admin/teams"])
def test_a_body_that_is_announced_too_large_is_refused_at_once(port: int, path: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    (refused,) = answers(port, head % (LONGEST_BODY + 1))
    assert_refused(refused, 413, "content_too_large")
    assert str(LONGEST_BODY) in json.loads(refused[2])["error"]["message"]


def test_a_body_of_the_allowed_size_is_read_and_ignored(port: int) -> None:
    request = close(WHOAMI) + KEY + b"Content-Length: %d\r\n\r\n" % LONGEST_BODY + b"x" * LONGEST_BODY
    ((status, _, body),) = answers(port, request)
    assert (status, json.loads(body)["success"]) == (200, True)


def test_the_control_api_takes_large_bodies_but_no_larger_ones(port: int) -> None:
    head = b"POST /__admin/teams HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    body = b'{"name": "Large"' + b" " * 4_000_000 + b"}"
    ((status, _, _),) = answers(port, head + b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert status == 201
    (refused,) = answers(port, head + b"Content-Length: %d\r\n\r\n" % (LONGEST_CONTROL_BODY + 1))
    assert_refused(refused, 413, "content_too_large")


def test_a_chunked_body_is_refused_when_it_becomes_too_large(port: int) -> None:
    """The control API waits for the whole body, so nothing of it was done."""
    head = b"POST /__admin/teams HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    (refused,) = answers(port, head + b"Content-Type: application/json\r\n\r\n", *([chunk] * 5))
    assert_refused(refused, 413, "content_too_large")


@pytest.mark.parametrize(("start", "more"), [(b"1;", b"x" * 60_000), (b"0\r\n", b"a: b\r\n" * 10_000)])
def test_what_surrounds_the_chunks_is_bounded_too(port: int, start: bytes, more: bytes) -> None:
    """Lengths of chunks with endless extensions, and endless trailers."""
    head = b"POST /api/v1/auth/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = answers(port, head + start, *([more] * 10))
    assert [answer[0] for answer in found] == [405]
    control = head.replace(b"/api/v1/auth/whoami", b"/__admin/teams")
    (refused,) = answers(port, control + start, *([more] * 1200))
    assert refused[0] in {400, 413}


def test_a_connection_that_says_nothing_is_closed_without_a_word(port: int) -> None:
    assert answers(port) == []
    assert answers(port, b"\r\n\r\n") == []


@pytest.mark.parametrize("start", [b"G", b"GET /api", WHOAMI, WHOAMI + b"X-Slow: ", GOOD[:-2]])
def test_a_head_that_does_not_come_to_its_end_is_a_408(port: int, start: bytes) -> None:
    (refused,) = answers(port, start)
    assert_refused(refused, 408, "request_timeout")


@pytest.mark.states("bound.time", "errors.request_timeout")
def test_a_head_that_trickles_in_is_a_408(port: int) -> None:
    """Each byte is progress; the whole head has to come in time."""
    with connect(port) as connection:
        for byte in range(200):
            try:
                connection.sendall(GOOD[byte : byte + 1])
            except OSError:
                break
            connection.settimeout(0.05)
            try:
                first = connection.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                continue
            assert first == b"H"
            break
        connection.settimeout(10)
        (refused,) = responses(connection)
    assert_refused(refused, 408, "request_timeout")


def test_a_body_that_stops_is_a_408(port: int) -> None:
    head = b"POST /__admin/teams HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    (refused,) = answers(port, head + b"Content-Length: 50\r\n\r\n" + b'{"name":')
    assert_refused(refused, 408, "request_timeout")


def test_a_body_that_goes_on_is_waited_for(port: int) -> None:
    body = b'{"name": "Slow"}'
    head = b"POST /__admin/teams HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    with connect(port) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(len(body)):
            connection.sendall(body[at : at + 1])
            time.sleep(Impatient.stall_seconds / 8)
        ((status, _, _),) = responses(connection)
    assert status == 201


def test_the_second_request_of_a_connection_has_its_own_time(port: int) -> None:
    with connect(port) as connection:
        for _ in range(3):
            time.sleep(Impatient.head_seconds * 0.7)  # longer in sum than a head may take
            connection.sendall(GOOD)
            assert answer(connection)[0] == 200
        connection.sendall(WHOAMI)
        (refused,) = responses(connection)
    assert_refused(refused, 408, "request_timeout")


def test_a_slow_answer_is_no_slow_request(port: int) -> None:
    wait = b"Prefer: wait=1\r\n"
    with connect(port) as connection:
        connection.sendall(WHOAMI + KEY + wait + b"\r\n" + GOOD + WHOAMI)
        first, second, refused = responses(connection)
    assert (first[0], second[0]) == (200, 200)
    assert_refused(refused, 408, "request_timeout")


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (WHOAMI + b"a: b\r\n" * 101 + b"\r\n", 431),
        (WHOAMI + b"Content-Length: 70000\r\n\r\n", 413),
        (WHOAMI + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n", 400),
        (WHOAMI + b"Transfer-Encoding: chunked\r\n\r\n11170\r\n" + b"x" * 70_001, 413),
    ],
)
def test_earlier_requests_get_their_answers_before_the_refusal(port: int, bad: bytes, status: int) -> None:
    slow = WHOAMI + KEY + b"Prefer: wait=1\r\n\r\n"
    found = answers(port, slow + GOOD + bad + GOOD)
    assert [answer[0] for answer in found] == [200, 200, status]
    assert found[-1][1]["connection"] == "close"


def test_a_client_that_sends_on_can_still_read_why_it_was_refused(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(WHOAMI + b"Content-Length: 5000000\r\n\r\n")
        connection.sendall(b"x" * 5_000_000)
        (refused,) = responses(connection)
    assert_refused(refused, 413, "content_too_large")


def test_a_client_that_does_not_take_its_answers_is_cut_off(port: int) -> None:
    with connect(port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:  # the reset that ends it is seen without reading
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                break
            time.sleep(0.05)
        else:
            pytest.fail("the connection was kept")


def test_one_connection_too_many_is_told_so() -> None:
    with serving(Impatient, most_connections=3) as port, ExitStack() as stack:
        kept = [stack.enter_context(connect(port)) for _ in range(3)]
        for connection in kept:
            connection.sendall(GOOD)
            assert answer(connection)[0] == 200
        (refused,) = answers(port, GOOD)
        assert_refused(refused, 503, "service_unavailable")
        assert refused[1]["retry-after"] == "1"
        # A further one that says nothing is closed without a word, and those that are open go on.
        assert answers(port) == []
        kept[0].sendall(close(GOOD))
        assert responses(kept[0])[0][0] == 200
        ((status, _, _),) = answers(port, close(GOOD))
        assert status == 200


def test_far_too_many_connections_are_just_closed() -> None:
    with serving(Impatient, most_connections=1) as port, ExitStack() as stack:
        connections = [stack.enter_context(connect(port)) for _ in range(150)]
        ends = []
        for connection in connections[110:]:
            try:
                ends.append(connection.recv(1))
            except ConnectionResetError:
                ends.append(b"")
        assert set(ends) == {b""}


def test_the_setting_bounds_a_real_server(tmp_path: Path) -> None:
    with running(tmp_path, "--max-connections", "1") as server:
        port = int(server.url.rpartition(":")[2])
        with connect(port) as kept:
            kept.sendall(GOOD)
            assert answer(kept)[0] == 200
            response = httpx2.get(f"{server.url}/healthz")
            assert (response.status_code, response.json()["error"]["code"]) == (503, "service_unavailable")
        assert "ERROR" not in server.log.read_text()
