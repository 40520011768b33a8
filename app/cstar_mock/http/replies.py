"""Whole responses: status, lines of headers and body, for a connection or an ASGI server to send."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from starlette.responses import Response
from starlette.types import Send

from cstar_mock.contract import errors
from cstar_mock.contract.clock import Instant
from cstar_mock.contract.errors import ApiError

_JSON_LINES = b"content-length: %d\r\ncontent-type: application/json\r\n"


class Reply(NamedTuple):
    """A whole response.

    Attributes:
        status: its status.
        lines: its headers as lines of a response's head: one by one, they would cost three times as much.
        body: its body.
    """

    status: int
    lines: bytes
    body: bytes

    async def send(self, send: Send) -> None:
        """Send it over ASGI."""
        await send({"type": "http.response.start", "status": self.status, "headers": list(pairs(self.lines))})
        await send({"type": "http.response.body", "body": self.body})


class ReplyResponse(Response):
    """A whole response for Starlette, which looks up none of its headers."""

    def __init__(self, reply: Reply) -> None:
        self.status_code = reply.status
        self.background = None
        self.body = reply.body
        self.raw_headers = list(pairs(reply.lines))


def json_reply(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a response whose body is JSON."""
    lines = _JSON_LINES % len(body)
    if headers:
        lines += "".join([f"{name.lower()}: {value}\r\n" for name, value in headers.items()]).encode("latin-1")
    return Reply(status, lines, body)


def error_reply(error: ApiError, request_id: str, now: Instant) -> Reply:
    """Return the documented envelope of an error [doc].

    Args:
        error: the error.
        request_id: the id of the request, the same as in `X-Request-Id`.
        now: the instant in `meta.timestamp`.
    """
    return json_reply(error.kind.status, errors.envelope_bytes(error, request_id, now), error.headers)


def pairs(lines: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names and values of lines of headers."""
    for line in lines.splitlines():
        name, _, value = line.partition(b": ")
        yield name, value
