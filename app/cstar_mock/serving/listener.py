"""The listening socket: opening it, and keeping new connections out during a shutdown."""

import contextlib
import ctypes
import select
import socket
import struct

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27


class CannotListen(Exception):
    """The address can't be listened on."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 is a free one.

    Raises:
        CannotListen: the port is taken, or the host is not an address of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.set_inheritable(True)
    except OSError as error:
        raise CannotListen(f"can't listen on {host}:{port}: {error.strerror or error}") from None
    return listener


def url_of(host: str, listener: socket.socket) -> str:
    """Return the URL at which this machine reaches a listener."""
    port = listener.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def keep_out(listener: socket.socket) -> None:
    """Let the kernel drop new connections, and keep the open ones (Linux)."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # a packet filter of one instruction: return 0
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(drop)))


def let_in(listener: socket.socket) -> None:
    """Undo `keep_out`, in case a worker was ended alone: the others listen on the same socket."""
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def has_waiting(listener: socket.socket) -> bool:
    """Whether the kernel has accepted a connection that the server has not taken yet."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
