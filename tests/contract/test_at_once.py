"""Answers that are given before the application is started: as all others, over a real socket."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.contract.test_bounds import answers, close, connect, responses, serving

from cstar_mock.http.protocol import Protocol

TEAM = b"f07114d7-c66e-5709-b0ff-21e45192d472"
HOST = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
KEY = b"Authorization: Bearer sk_live_your_key\r\n"
PATH = b"/api/v1/teams/" + TEAM + b"/analytics/overview"
OVERVIEW = b"GET " + PATH + HOST + KEY + b"\r\n"
WHOAMI = b"GET /api/v1/auth/whoami" + HOST + KEY
IDLE_SECONDS = 0.5


class Counting(Protocol):
    """A connection that counts what it answers at once, and is closed soon if nothing comes."""

    at_once = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.timeout_keep_alive = IDLE_SECONDS  # type: ignore[assignment]  # any number will do

    def _answer_at_once(self) -> bool:
        answered = super()._answer_at_once()
        Counting.at_once += answered
        return answered


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    with serving(Counting) as port:
        answers(port, close(OVERVIEW))
        Counting.at_once = 0
        yield port


def test_it_is_the_answer_that_the_application_gives(port: int) -> None:
    found = answers(port, OVERVIEW, close(OVERVIEW))
    assert Counting.at_once == 1
    (status, headers, body), (long_status, long_headers, long_body) = found
    assert (status, body) == (long_status, long_body)
    assert list(headers) == [name for name in long_headers if name != "connection"]
    assert headers["x-request-id"] != long_headers["x-request-id"]


def test_it_is_logged_and_recorded_as_any_other(port: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cstar_mock.requests")
    at_once, _ = answers(port, OVERVIEW, close(OVERVIEW))
    id_ = at_once[1]["x-request-id"]
    (line,) = [record for record in caplog.records if getattr(record, "request_id", None) == id_]
    assert line.getMessage() == f"GET {PATH.decode()} 200"
    assert (vars(line)["status"], line.team, line.key) == (200, "acme", "…_key")  # type: ignore[attr-defined]
    journal = b"GET /__admin/teams/" + TEAM + b"/requests" + HOST + b"\r\n"
    ((_, _, body),) = answers(port, close(journal))
    (entry,) = [entry for entry in json.loads(body)["requests"] if entry["id"] == id_]
    assert entry["request"]["path"] == PATH.decode()
    assert entry["response"]["status"] == 200
    assert Counting.at_once == 1


def test_pipelined_requests_get_their_answers_in_order(port: int) -> None:
    slow = WHOAMI + b"Prefer: wait=0.3\r\n\r\n"
    sent = [OVERVIEW, OVERVIEW, slow, OVERVIEW, WHOAMI + b"\r\n", *[OVERVIEW] * 200, close(OVERVIEW)]
    found = answers(port, b"".join(sent))
    assert [b"keyType" in body for _, _, body in found] == [b"whoami" in request for request in sent]
    assert Counting.at_once >= 2
    ids = {headers["x-request-id"] for _, headers, _ in found}
    assert len(ids) == len(sent)


def test_the_body_of_a_get_is_read_and_ignored(port: int) -> None:
    with_body = OVERVIEW.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    found = answers(port, with_body + b"he", b"llo" + OVERVIEW + close(OVERVIEW))
    assert [status for status, _, _ in found] == [200, 200, 200]
    assert Counting.at_once == 2


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
    assert Counting.at_once == 0


@pytest.mark.parametrize("request_", [OVERVIEW, WHOAMI + b"\r\n"])
def test_a_connection_that_is_idle_for_too_long_is_closed(port: int, request_: bytes) -> None:
    with connect(port) as connection:
        for _ in range(3):
            time.sleep(IDLE_SECONDS * 0.6)  # longer in sum than it may be idle
            connection.sendall(request_)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        assert responses(connection) == []
        assert time.monotonic() - began >= IDLE_SECONDS * 0.9
    assert Counting.at_once == (3 if request_ == OVERVIEW else 0)
