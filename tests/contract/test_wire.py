"""What comes over a real socket, however broken: no 500, and no body outside the envelope."""

import json
import re
import socket
from urllib.parse import urlsplit

import pytest
from tests.conftest import Server

KEY = b"Authorization: Bearer sk_live_your_key\r\n"


def exchange(server: Server, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and return the status, headers and body of what comes back before the connection closes."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while data := connection.recv(65536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(status_line.split()[1]), headers, body


def get(path: bytes, *headers: bytes) -> bytes:
    """Return a GET request."""
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"".join(headers) + b"\r\n"


@pytest.mark.states("error.everywhere")
@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (get(b"/api/v1/auth/whoami", KEY), {200}),
        (get(b"/api/v1/auth/whoami", b"Authorization: Bearer \x01\x02\r\n"), {400, 401}),
        (get(b"/api/v1/auth/whoami", b"Authorization: Bearer \xc3\xa9\xff\r\n"), {401}),
        (get(b"/api/v1/auth/whoami", b"Authorization: Bearer " + b"k" * 32_000 + b"\r\n"), {401}),
        (get(b"/api/v1/auth/whoami", b"Authorization: Bearer " + b"k" * 65_536 + b"\r\n"), {431}),
        (get(b"/api/v1/auth/whoami", KEY, b"X-Long: " + b"x" * 32_000 + b"\r\n"), {200}),
        (get(b"/api/v1/auth/whoami", KEY, b"X-Long: " + b"x" * 65_536 + b"\r\n"), {431}),
        (get(b"/api/v1/auth/whoami", b"Authorization : Bearer x\r\n"), {400, 401}),
        (get(b"/api/v1/auth/whoami", b"\x00\x01: x\r\n"), {400}),
        (get(b"/api/v1/auth/whoami?" + b"x" * 8_000, KEY), {200}),
        (get(b"/api/v1/auth/whoami?" + b"x" * 65_000, KEY), {414}),
        (get(b"/api/v1/teams/%00/analytics/overview", KEY), {403}),
        (get(b"/api/v1/teams/%/analytics/overview", KEY), {403}),
        (get(b"/api/v1/teams/%zz%e/analytics/overview", KEY), {403}),
        (get(b"/api/v1/teams/%ff%fe/analytics/overview", KEY), {403}),
        (get(b"/api/v1/teams/%2f/analytics/overview", KEY), {404}),
        (get(b"/api/v1/teams/\xc3\xa9/analytics/overview", KEY), {400, 403}),
        (get(b"/api/../api/v1/auth/whoami", KEY), {404}),
        (get(b"//api/v1/auth/whoami", KEY), {404}),
        (get(b"/api/v1/auth/whoami%00", KEY), {404}),
        (get(b"http://x/api/v1/auth/whoami", KEY), {200}),
        (get(b"api", KEY), {400, 404}),
        (get(b"*", KEY), {400, 404}),
        (b"BREW /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\n\r\n", {400, 405}),
        (b"GET /api HTTP/9.9\r\nHost: x\r\n\r\n", {400}),
        (b"nonsense\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {400}),
        (b"POST /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
        (b"POST /api/v1/auth/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", {405}),
    ],
)
def test_whatever_is_sent_the_envelope_comes_back(server: Server, request_: bytes, statuses: set[int]) -> None:
    status, headers, body = exchange(server, request_)
    assert status in statuses
    assert headers["content-type"] == "application/json"
    content = json.loads(body)
    assert re.fullmatch(r"req_[A-Za-z0-9]{12}", headers["x-request-id"])
    if status == 200:
        assert list(content) == ["success", "data"]
    else:
        assert list(content) == ["success", "error", "meta"]
        assert content["error"]["request_id"] == headers["x-request-id"]
        assert content["success"] is False
    assert "server" not in headers
