"""Replays by the connection, before the application is started: as all other answers, over a real socket."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.test_bounds import Response, answer, answers, close, connect, responses, serving

from cstar_mock import bounds
from cstar_mock.http import middleware
from cstar_mock.http.context import RequestContext
from cstar_mock.http.facts import RequestFacts
from cstar_mock.serving.connection import BoundedProtocol
from cstar_mock.serving.replay_connection import ReplayProtocol

TEAM = b"f07114d7-c66e-5709-b0ff-21e45192d472"
HOST = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
KEY = b"Authorization: Bearer sk_live_your_key\r\n"
PATH = b"/api/v1/teams/" + TEAM + b"/analytics/overview"
OVERVIEW = b"GET " + PATH + HOST + KEY + b"\r\n"
WHOAMI = b"GET /api/v1/auth/whoami" + HOST + KEY
IDLE_SECONDS = 1.0


class Counting(ReplayProtocol):
    """A connection that counts what it replays and what it parses."""

    replays = 0
    packets_parsed = 0

    def _answer(self, read: RequestFacts) -> bool:
        answered = super()._answer(read)
        Counting.replays += answered
        return answered

    def _parse(self, data: bytes) -> bool:
        Counting.packets_parsed += 1
        return super()._parse(data)


class ShortIdle(Counting):
    """A connection that is closed soon if nothing comes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.timeout_keep_alive = IDLE_SECONDS  # type: ignore[assignment]  # any number will do


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with serving(Counting) as port:
        answers(port, close(OVERVIEW))
        Counting.replays = Counting.packets_parsed = 0
        yield port


def ask(connection: socket.socket, request: bytes) -> Response:
    """Send a request on a connection that stays open, and return its answer."""
    connection.sendall(request)
    return answer(connection)


def control(port: int, method: bytes, path: bytes, body: bytes = b"") -> Any:
    """Ask the control API about the team, and return what it says."""
    described = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    head = method + b" /__admin/teams/" + TEAM + path + HOST + described
    ((_, _, answered),) = answers(port, close(head) + body)
    return json.loads(answered) if answered else None


def test_it_is_the_answer_that_the_application_gives(port: int) -> None:
    found = answers(port, OVERVIEW, close(OVERVIEW))
    assert Counting.replays == 1
    (status, headers, body), (long_status, long_headers, long_body) = found
    assert (status, body) == (long_status, long_body)
    assert list(headers) == [name for name in long_headers if name != "connection"]
    assert headers["x-request-id"] != long_headers["x-request-id"]


def test_it_is_logged_and_recorded_as_any_other(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cstar_mock.requests")
    replayed, _ = answers(port, OVERVIEW, close(OVERVIEW))
    id_ = replayed[1]["x-request-id"]
    (line,) = [record for record in caplog.records if getattr(record, "request_id", None) == id_]
    assert line.getMessage() == f"GET {PATH.decode()} 200"
    assert (vars(line)["status"], line.team, line.key) == (200, "acme", "…_key")  # type: ignore[attr-defined]
    (entry,) = [entry for entry in control(port, b"GET", b"/requests")["requests"] if entry["id"] == id_]
    assert entry["request"]["path"] == PATH.decode()
    assert entry["response"]["status"] == 200
    assert Counting.replays == 1


def test_pipelined_requests_get_their_answers_in_order(port: int) -> None:
    slow = WHOAMI + b"Prefer: wait=0.3\r\n\r\n"
    sent = [OVERVIEW, OVERVIEW, slow, OVERVIEW, WHOAMI + b"\r\n", *[OVERVIEW] * 200, close(OVERVIEW)]
    found = answers(port, b"".join(sent))
    assert [b"keyType" in body for _, _, body in found] == [b"whoami" in request for request in sent]
    assert Counting.replays >= 2
    ids = {headers["x-request-id"] for _, headers, _ in found}
    assert len(ids) == len(sent)


def test_the_body_of_a_get_is_read_and_ignored(port: int) -> None:
    with_body = OVERVIEW.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    found = answers(port, with_body + b"he", b"llo" + OVERVIEW + close(OVERVIEW))
    assert [status for status, _, _ in found] == [200, 200, 200]
    assert Counting.replays == 2


def test_a_request_that_is_known_by_its_bytes_is_not_parsed_again(port: int) -> None:
    with connect(port) as first, connect(port) as second:
        given = [ask(connection, OVERVIEW) for connection in (first, first, second, second)]
    assert (Counting.replays, Counting.packets_parsed) == (4, 1)
    assert len({headers["x-request-id"] for _, headers, _ in given}) == 4
    assert len({(status, tuple(headers), body) for status, headers, body in given}) == 1
    recorded = control(port, b"GET", b"/requests")["requests"]
    assert [entry["id"] for entry in recorded[:4]] == [headers["x-request-id"] for _, headers, _ in reversed(given)]
    assert [entry["request"] for entry in recorded[:4]] == [recorded[3]["request"]] * 4


def test_a_known_request_that_can_not_be_replayed_now_begins_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was done for it when the connection looked for a replay, and found that a fault rule may decide."""
    begun: list[RequestContext] = []

    def counted() -> RequestContext:
        begun.append(RequestContext())
        return begun[-1]

    with connect(port) as connection:
        ask(connection, OVERVIEW)
        control(port, b"PUT", b"/faults", b'[{"status": 503, "failRequestCount": 1}]')
        before = len(control(port, b"GET", b"/requests")["requests"])
        monkeypatch.setattr(middleware, "RequestContext", counted)
        assert [ask(connection, OVERVIEW)[0] for _ in range(3)] == [503, 200, 200]
    assert [context.status for context in begun] == [503, 200, 200]
    assert len(control(port, b"GET", b"/requests")["requests"]) == before + 3


def test_a_revoked_key_is_refused_also_where_its_request_is_known(port: int) -> None:
    with connect(port) as connection:
        assert [ask(connection, OVERVIEW)[0] for _ in range(2)] == [200, 200]
        for key in control(port, b"GET", b"/keys")["keys"]:
            control(port, b"DELETE", b"/keys/" + key["id"].encode())
        status, headers, _ = ask(connection, OVERVIEW)
        assert (status, "x-cstar-mock-hint" in headers) == (401, True)


@pytest.mark.parametrize("cut", [0, 1, 40])
def test_what_follows_a_request_for_an_upgrade_in_the_same_packet_is_answered(port: int, cut: int) -> None:
    upgrade = OVERVIEW.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
    sent = upgrade + OVERVIEW + upgrade + close(OVERVIEW)
    with connect(port) as connection:
        connection.sendall(sent[: len(sent) - cut])
        time.sleep(0.05)
        connection.sendall(sent[len(sent) - cut :])
        assert [status for status, _, _ in responses(connection)] == [200] * 4


@pytest.mark.parametrize("protocol", [ReplayProtocol, BoundedProtocol])
def test_a_trailer_is_no_header(protocol: type[BoundedProtocol]) -> None:
    """Else a key in it would be taken or not, as the request is looked at before or after it comes."""
    head = b"GET " + PATH + HOST + b"Transfer-Encoding: chunked\r\n"
    with serving(protocol) as port, connect(port) as connection:
        for _ in range(2):
            assert ask(connection, head + KEY + b"\r\n0\r\nPrefer: code=503\r\n\r\n")[0] == 200
            assert ask(connection, head + b"\r\n0\r\n" + KEY + b"\r\n")[0] == 401


def test_only_a_whole_packet_is_known(port: int) -> None:
    with connect(port) as connection:
        for _ in range(2):
            assert ask(connection, OVERVIEW)[0] == 200
        half = len(OVERVIEW) // 2
        connection.sendall(OVERVIEW[:half])
        time.sleep(0.05)
        assert ask(connection, OVERVIEW[half:])[0] == 200
        connection.sendall(OVERVIEW * 2 + close(OVERVIEW))
        assert [status for status, _, _ in responses(connection)] == [200] * 3


def test_a_known_request_waits_for_the_answer_before_it(port: int) -> None:
    with connect(port) as connection:
        ask(connection, OVERVIEW)
        connection.sendall(WHOAMI + b"Prefer: wait=0.3\r\n\r\n")
        time.sleep(0.1)
        connection.sendall(OVERVIEW)
        time.sleep(0.4)
        connection.sendall(close(OVERVIEW))
        assert [b"keyType" in body for _, _, body in responses(connection)] == [True, False, False]


def test_what_is_known_is_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar_mock.bounds.KNOWN_REQUEST_BYTES", 20_000)  # three such requests
    long = OVERVIEW.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"x" * bounds.LONGEST_KNOWN_REQUEST + b"\r\n\r\n")
    with connect(port) as connection:
        for request in [long, long, *(OVERVIEW.replace(b"\r\n\r\n", b"\r\nX: %d\r\n\r\n" % n) for n in range(4))]:
            assert ask(connection, request)[0] == 200
        assert Counting.packets_parsed == 6
        ask(connection, OVERVIEW.replace(b"\r\n\r\n", b"\r\nX: 3\r\n\r\n"))
        assert Counting.packets_parsed == 6
        ask(connection, OVERVIEW.replace(b"\r\n\r\n", b"\r\nX: 0\r\n\r\n"))
        assert Counting.packets_parsed == 7


def test_a_request_that_came_through_a_proxy_goes_the_long_way(port: int) -> None:
    """Whose it is, the middleware around the application finds out."""
    forwarded = OVERVIEW.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
    assert [status for status, _, _ in answers(port, forwarded, close(forwarded))] == [200, 200]
    assert Counting.replays == 0


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (close(OVERVIEW), "connection"),
        (OVERVIEW.replace(b"HTTP/1.1", b"HTTP/1.0"), "connection"),
        (close(OVERVIEW.replace(b"\r\n\r\n", b"\r\nOrigin: https://a.example\r\n\r\n")), "access-control-allow-origin"),
        (close(OVERVIEW.replace(b"\r\n\r\n", b"\r\nPrefer: wait=0\r\n\r\n")), "preference-applied"),
    ],
)
def test_a_request_with_something_special_goes_the_long_way(port: int, request_: bytes, name: str) -> None:
    ((status, headers, _),) = answers(port, request_)
    assert status == 200
    assert name in headers
    assert Counting.replays == 0


@pytest.mark.parametrize("request_", [OVERVIEW, WHOAMI + b"\r\n"])
def test_a_connection_that_is_idle_for_too_long_is_closed(request_: bytes) -> None:
    with serving(ShortIdle) as port, connect(port) as connection:
        assert ask(connection, OVERVIEW)[0] == 200
        Counting.replays = 0
        for _ in range(3):
            time.sleep(IDLE_SECONDS * 0.6)  # longer in sum than it may be idle
            assert ask(connection, request_)[0] == 200
        began = time.monotonic()
        assert responses(connection) == []
        assert time.monotonic() - began >= IDLE_SECONDS * 0.9
    assert Counting.replays == (3 if request_ == OVERVIEW else 0)
