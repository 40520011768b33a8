"""Connection faults, as a client sees them on its socket."""

import asyncio
import os
import socket
import struct

from cstar_mock.traffic.fault_rules import ConnectionFault


def act(fault: ConnectionFault, transport: asyncio.Transport) -> None:
    """Break a connection."""
    if fault is ConnectionFault.CONNECTION_RESET_BY_PEER:
        reset(transport)
        return
    transport.write(_last_bytes(fault))
    transport.close()


def reset(transport: asyncio.Transport) -> None:
    """Close a connection with RST instead of FIN, as closing a socket that is not to linger does."""
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _last_bytes(fault: ConnectionFault) -> bytes:
    """Return the bytes that a client receives before its connection closes."""
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
