"""What belongs to a request: its body in time, its end, its host, and the path that decides about it."""

import json
import socket
import time
from collections.abc import Iterator

import pytest
from tests.contract.test_bounds import (
    GOOD,
    KEY,
    WHOAMI,
    Impatient,
    answers,
    assert_refused,
    close,
    connect,
    responses,
    serving,
)

from cstar_mock import bounds
from cstar_mock.serving.connection import BoundedProtocol

CREATE = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
LARGE = b'{"name": "Large"' + b" " * (2 * bounds.LONGEST_BODY) + b"}"


class Hasty(Impatient):
    """A connection whose bodies have to come soon, though each part of them may take its time."""

    stall_seconds = 5.0
    body_seconds = 0.5


@pytest.fixture(scope="module", name="port")
def _port() -> Iterator[int]:
    with serving(Hasty) as port:
        yield port


def half_closed(port: int, *parts: bytes) -> list[tuple[int, bytes]]:
    """Send these, close the sending side, and return statuses and bodies of what comes back."""
    with connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        return [(status, body) for status, _, body in responses(connection)]


def teams(port: int) -> int:
    """Return how many teams there are."""
    ((_, _, body),) = answers(port, b"GET /__admin/teams HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    return len(json.loads(body)["teams"])


def test_a_body_that_trickles_in_is_a_408(port: int) -> None:
    """Each byte is progress; the body as a whole has to come at the least rate."""
    before = teams(port)
    with connect(port) as connection:
        connection.sendall(CREATE % b"/__admin/teams" + b"Content-Length: 1000\r\n\r\n{")
        connection.settimeout(0.05)
        for _ in range(100):
            try:
                connection.sendall(b" ")
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        connection.settimeout(10)
        (refused,) = responses(connection)
    assert_refused(refused, 408, "request_timeout")
    assert teams(port) == before


def test_a_body_at_the_least_rate_is_waited_for(port: int) -> None:
    part = b" " * (bounds.LEAST_BODY_RATE // 4)
    with connect(port) as connection:
        length = 2 + 12 * len(part)
        connection.sendall(CREATE % b"/__admin/teams" + b"Content-Length: %d\r\n\r\n{" % length)
        for _ in range(12):  # longer in sum than a body may take that comes slower
            time.sleep(0.08)
            connection.sendall(part)
        connection.sendall(b"}")
        ((status, _, _),) = responses(connection)
    assert status == 201


def test_a_body_that_we_do_not_read_yet_is_no_slow_body(port: int) -> None:
    body = b"x" * bounds.LONGEST_BODY
    with connect(port) as connection:
        connection.sendall(WHOAMI + KEY + b"Prefer: wait=1.5\r\n\r\n")
        connection.sendall(close(WHOAMI) + KEY + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert [status for status, _, _ in responses(connection)] == [200, 200]


def test_a_client_that_closed_its_side_is_answered(port: int) -> None:
    for _ in range(3):
        ((status, _),) = half_closed(port, GOOD)
        assert status == 200
    before = teams(port)
    ((status, _),) = half_closed(port, CREATE % b"/__admin/teams" + b"Content-Length: 2\r\n\r\n{}")
    assert (status, teams(port)) == (201, before + 1)
    ((status, _),) = half_closed(port, WHOAMI + KEY + b"Prefer: wait=0.3\r\n\r\n")
    assert status == 200
    pipelined = half_closed(port, GOOD * 5 + WHOAMI + KEY + b"Prefer: wait=0.1\r\n\r\n")
    assert [status for status, _ in pipelined] == [200] * 6


def test_a_client_that_closes_its_side_while_it_waits_has_given_up(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(WHOAMI + KEY + b"Prefer: wait=5\r\n\r\n")
        time.sleep(Hasty.half_close_seconds + 0.3)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(2)
        assert connection.recv(65536) == b""


@pytest.mark.parametrize(
    "start", [b"GET /", WHOAMI, CREATE % b"/__admin/teams" + b"Content-Length: 50\r\n\r\n" + b'{"name":']
)
def test_a_request_that_ends_early_is_a_400_and_does_nothing(port: int, start: bytes) -> None:
    before = teams(port)
    ((status, body),) = half_closed(port, start)
    assert (status, json.loads(body)["error"]["code"]) == (400, "parameter_invalid")
    assert teams(port) == before


def test_the_answer_to_a_head_that_is_refused_has_no_body(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.states("bound.malformed", "errors.request_malformed")
@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (GOOD.replace(b"Host: 127.0.0.1\r\n", b""), "no Host"),
        (GOOD.replace(b"Host: 127.0.0.1\r\n", b"Host: a\r\nHost: a\r\n"), "more than one Host"),
        (GOOD.replace(b"Host: 127.0.0.1\r\n", b"Host: a b\r\n"), "Host is not a host"),
        (GOOD.replace(b"/api", b"ftp://x/api"), "target"),
        (GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"), "HTTP/2.0"),
        (WHOAMI + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
        (WHOAMI + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
    ],
)
def test_what_is_no_valid_http_is_told_why(port: int, request_: bytes, reason: str) -> None:
    (refused,) = answers(port, request_)
    assert_refused(refused, 400, "parameter_invalid")
    assert reason in json.loads(refused[2])["error"]["message"]


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t \t", b" " * 1000])
def test_white_space_around_a_value_is_no_part_of_it(port: int, space: bytes) -> None:
    ((status, _, _),) = answers(port, close(GOOD).replace(b"your_key\r\n", b"your_key" + space + b"\r\n"))
    assert status == 200
    ((status, _, _),) = answers(port, close(GOOD).replace(b"Authorization: ", b"Authorization:" + space))
    assert status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/__admin/teams", 201),
        (b"http://127.0.0.1/__admin/teams", 201),
        (b"HTTPS://127.0.0.1/__admin/teams", 201),
        (b"/%5f_admin/teams", 201),
        (b"/__adminx/teams", 413),
        (b"/x?/__admin/teams", 413),
        (b"http://__admin/teams", 413),
    ],
)
def test_the_path_decides_how_large_a_body_may_be(port: int, target: bytes, status: int) -> None:
    ((answered, _, body),) = answers(port, CREATE % target + b"Content-Length: %d\r\n\r\n" % len(LARGE), LARGE)
    assert answered == status, body


def test_an_absolute_form_without_a_path_is_the_index(port: int) -> None:
    for target in (b"http://127.0.0.1", b"http://127.0.0.1?x"):
        ((status, headers, _),) = answers(port, b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
        assert (status, headers["location"]) == (307, "/docs")


def test_the_host_of_an_absolute_form_counts(port: int) -> None:
    """Else a page on another name of this machine could reach the control API."""
    request = b"GET http://%s/__admin/teams HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
    ((status, _, _),) = answers(port, request % (b"127.0.0.1", b"evil.test"))
    assert status == 200
    ((status, _, _),) = answers(port, request % (b"evil.test", b"127.0.0.1"))
    assert status == 403


def test_a_head_counts_without_the_requests_before_it_in_the_same_packet() -> None:
    """While the first two are served, the server reads nothing, so the rest of them comes as one packet."""
    count = bounds.LONGEST_HEAD // len(GOOD) + 10
    with serving(BoundedProtocol) as port:
        for cut in (1, len(GOOD) - 1):
            with connect(port) as connection:
                connection.sendall((WHOAMI + KEY + b"Prefer: wait=0.1\r\n\r\n") * 2)
                time.sleep(0.05)
                connection.sendall(GOOD * count + GOOD[:cut])
                time.sleep(0.3)
                connection.sendall(GOOD[cut:] + close(GOOD))
                assert [status for status, _, _ in responses(connection)] == [200] * (count + 4)


@pytest.mark.parametrize("before", [b"", GOOD, GOOD * 300])
def test_a_head_that_begins_behind_other_requests_is_bounded(port: int, before: bytes) -> None:
    long = WHOAMI + KEY + b"X-Long: " + b"x" * bounds.LONGEST_HEAD + b"\r\n\r\n"
    *others, refused = answers(port, before + long[:300], long[300:])
    assert [status for status, _, _ in others] == [200] * (len(before) // len(GOOD))
    assert_refused(refused, 431, "headers_too_large")
