"""The HTTP/1.1 connection: uvicorn's, with our envelope where the request never reaches the application."""

import asyncio
import os
import select
import socket
import struct
from functools import partial

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cstar_mock import clock, errors, ids
from cstar_mock.errors import ApiError
from cstar_mock.faults import ConnectionFault

CONNECTION = "cstar_mock.connection"
"""The name of the extension of an ASGI scope that can break its connection."""


DRAINING = "cstar_mock.draining"
"""The name of what is set in the state of an application once its server is on its way out."""

LINGER_SECONDS = 0.5
"""How long a connection on which nothing comes is still kept when the server is on its way out."""


class Protocol(HttpToolsProtocol):
    """One connection of a client.

    On the server's way out, a connection is not closed at once: a request may be on its way that the client would never
    get an answer to. It is answered with `Connection: close`, and a connection on which none comes is closed soon.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin a connection; on the way out, those that the kernel had accepted before come, too."""
        super().connection_made(transport)
        if self.app_state.get(DRAINING):
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        """Read; on the way out, half a request is waited for no longer than a whole one."""
        super().data_received(data)
        if self.app_state.get(DRAINING) and not self.transport.is_closing():
            self._linger_if_idle()

    def shutdown(self) -> None:
        """Serve what has been sent, and then close."""
        self.timeout_keep_alive = LINGER_SECONDS  # type: ignore[assignment]  # any number will do
        # A response whose head is out has promised to keep the connection: the next one will say that it closes.
        if not self._is_idle() and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self._linger_if_idle()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _linger_if_idle(self) -> None:
        if self._is_idle():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing came, unless something has come that was not read yet."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        if not self.transport.is_closing() and poll.poll(0):
            # Closing it now would reset it. An end of the connection is read as well, and closes it.
            self.timeout_keep_alive_task = self.loop.call_later(LINGER_SECONDS, self.timeout_keep_alive_handler)
            return
        super().timeout_keep_alive_handler()

    def on_headers_complete(self) -> None:
        """Let the application find its connection, in case a fault rule is to break it."""
        before = self.cycle
        super().on_headers_complete()
        self.scope["extensions"] = {CONNECTION: {"break": partial(self.break_off, self.cycle)}}
        if self.app_state.get(DRAINING):
            if before is not None and not before.response_started:
                before.keep_alive = True  # Of pipelined requests, the last one's answer closes.
            self.cycle.keep_alive = False

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
