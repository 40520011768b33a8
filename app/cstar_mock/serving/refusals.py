"""The answer of a connection to a request that it refuses."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from cstar_mock.contract import clock
from cstar_mock.contract.errors import ApiError
from cstar_mock.http.replies import error_reply


def refusal(error: ApiError, request_id: str, *, with_body: bool) -> bytes:
    """Return the last answer of a connection; one to a HEAD has no body."""
    reply = error_reply(error, request_id, clock.real_now())
    own = b"connection: close\r\nx-request-id: %s\r\n" % request_id.encode()
    head = b"%s%s%s\r\n" % (STATUS_LINE[reply.status], reply.lines, own)
    return head + reply.body if with_body else head
