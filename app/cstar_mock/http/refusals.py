"""What a connection sends by itself: the answer to a request that it refuses, and the bytes of connection faults."""

import os

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from cstar_mock.contract import clock
from cstar_mock.contract.errors import ApiError
from cstar_mock.http.replies import error_reply
from cstar_mock.traffic.fault_rules import ConnectionFault


def refusal(error: ApiError, request_id: str, *, with_body: bool) -> bytes:
    """Return the last answer of a connection; one to a HEAD has no body."""
    reply = error_reply(error, request_id, clock.real_now())
    own = b"connection: close\r\nx-request-id: %s\r\n" % request_id.encode()
    head = b"%s%s%s\r\n" % (STATUS_LINE[reply.status], reply.lines, own)
    return head + reply.body if with_body else head


def broken(fault: ConnectionFault) -> bytes:
    """Return what a client receives before its connection breaks."""
    if fault is ConnectionFault.MALFORMED_RESPONSE_CHUNK:
        return (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            b"this is no length of a chunk\r\n"
        )
    if fault is ConnectionFault.RANDOM_DATA_THEN_CLOSE:
        # No status line begins with this byte, whatever follows; without an empty line at the end, a parser would
        # wait for more, and tell of a connection that was closed without an answer.
        return b"\xff" + os.urandom(255) + b"\r\n\r\n"
    return b""
