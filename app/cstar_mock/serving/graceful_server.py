"""uvicorn's server, ended without losing a request; it relies on uvicorn's private parts, as the connection does.

`tests/unit/test_uvicorn_names.py` lists them. Where uvicorn is too new, `uvicorn_server` does not import this module.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import time
from collections.abc import Callable, Iterator

import uvicorn

from cstar_mock.http.extensions import DRAINING
from cstar_mock.serving.listener import has_waiting, keep_out, let_in

_QUEUE_SECONDS = 1
"""Seconds in which connections that the kernel has accepted are still taken."""

_ENDING = (signal.SIGINT, signal.SIGTERM)


class GracefulServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready, and exits with 0 after SIGTERM or SIGINT."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], grace_seconds: float) -> None:
        """Wrap a configuration.

        Args:
            config: uvicorn's.
            ready: called once requests are answered.
            grace_seconds: how long requests in flight have to end before they are cancelled.
        """
        super().__init__(config)
        self.ready = ready
        self.grace_seconds = grace_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and report it."""
        for listener in sockets or ():
            let_in(listener)
        await super().startup(sockets)
        # The objects of the start stay: the garbage collector need not look through them again.
        gc.collect()
        gc.freeze()
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no new connections, answer the requests of the open ones, and close everything."""
        # Closing a listener resets the connections that the kernel has accepted and we have not: so first new ones
        # are kept out, then the queue is emptied.
        self.lifespan.state[DRAINING] = True
        for listener in sockets or ():
            keep_out(listener)
            deadline = time.monotonic() + _QUEUE_SECONDS
            while has_waiting(listener) and time.monotonic() < deadline:  # noqa: ASYNC110  (the queue is the kernel's)
                await asyncio.sleep(0.005)
        # uvicorn would close the application right after it cancels requests: they could not be recorded any more.
        cancelling = asyncio.get_running_loop().call_later(self.grace_seconds, self._cancel_requests)
        try:
            await super().shutdown(sockets)
        finally:
            cancelling.cancel()

    def _cancel_requests(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End gracefully at a signal within the block."""
        # uvicorn raises the signal again after a graceful end; we promise the exit code 0.
        handlers = {number: signal.signal(number, self.handle_exit) for number in _ENDING}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
