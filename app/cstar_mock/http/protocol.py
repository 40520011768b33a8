"""The HTTP/1.1 connection: uvicorn's, with our envelope where the request never reaches the application."""

import os
import socket
import struct
from functools import partial

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cstar_mock import clock, errors, ids
from cstar_mock.errors import ApiError
from cstar_mock.faults import ConnectionFault

CONNECTION = "cstar_mock.connection"
"""The name of the extension of an ASGI scope that can break its connection."""


class Protocol(HttpToolsProtocol):
    """One connection of a client."""

    def on_headers_complete(self) -> None:
        """Let the application find its connection, in case a fault rule is to break it."""
        super().on_headers_complete()
        self.scope["extensions"] = {CONNECTION: {"break": partial(self.break_off, self.cycle)}}

    def break_off(self, cycle: RequestResponseCycle, fault: ConnectionFault) -> None:
        """Break the connection in a way that the client sees on its socket.

        Args:
            cycle: the request that breaks it; a client that pipelines has sent further ones by now.
            fault: in which way.
        """
        cycle.disconnected = True  # uvicorn is not to answer in the application's place
        if fault is ConnectionFault.CONNECTION_RESET_BY_PEER:
            # Closing a socket that is not to linger sends RST instead of FIN.
            connection: socket.socket = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
            return
        if fault is ConnectionFault.MALFORMED_RESPONSE_CHUNK:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
                b"this is no length of a chunk\r\n"
            )
        elif fault is ConnectionFault.RANDOM_DATA_THEN_CLOSE:
            # No status line begins with this byte, whatever follows; without an empty line at the end, a parser would
            # wait for more, and tell of a connection that was closed without an answer.
            self.transport.write(b"\xff" + os.urandom(255) + b"\r\n\r\n")
        self.transport.close()

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
