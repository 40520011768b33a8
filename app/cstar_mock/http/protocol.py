"""The HTTP/1.1 connection: uvicorn's, with our envelope where the request never reaches the application."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cstar_mock import clock, errors, ids
from cstar_mock.errors import ApiError


class Protocol(HttpToolsProtocol):
    """One connection of a client."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  (uvicorn says what it always says)
        """Answer what is no HTTP, and close the connection."""
        request_id = ids.request_id()
        error = ApiError(errors.REQUEST_MALFORMED)
        body = errors.envelope_bytes(error, request_id, clock.real_now())
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n%s" % (request_id.encode(), len(body), body)
        )
        self.transport.close()
