"""uvicorn with our connection; and without it where uvicorn is newer than this release knows.

Our connection and the shutdown rely on private parts of uvicorn (`tests/unit/test_uvicorn_names.py`). The package
allows no newer uvicorn, but an environment may have one all the same.
"""

import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from cstar_mock.settings import Settings

NEWEST_KNOWN = (0, 54)
"""The newest minor release of uvicorn whose private parts this release knows; `pyproject.toml` allows none after it."""

GRACE_SECONDS = 4
"""Seconds that requests in flight have to end after SIGTERM; a shutdown takes at most five."""

_LAST_ANSWERS_SECONDS = 0.5
"""Seconds that cancelled requests have to be recorded and answered."""

_log = logging.getLogger("cstar_mock.server")


def warn_if_unknown() -> None:
    """Log the missing features if uvicorn is newer than this release knows."""
    if not _is_known():
        newest = ".".join(map(str, NEWEST_KNOWN))
        _log.warning(
            "uvicorn %s is newer than %s: no connection faults, no bounds of connections, slower repeated answers",
            uvicorn.__version__,
            newest,
        )


def run(app: ASGIApp, settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve an application until SIGTERM or SIGINT.

    Args:
        app: the application.
        settings: the choices to serve by.
        listener: the socket to accept connections on.
        ready: called once requests are answered.
    """
    options: dict[str, Any] = {
        "limit_concurrency": settings.max_connections,
        # Kept a second longer than the answers say, so that a client that trusts them never meets a closed connection.
        "timeout_keep_alive": settings.keep_alive + 1,
        "headers": [("keep-alive", f"timeout={settings.keep_alive}")],
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "ws": "none",
        "forwarded_allow_ips": settings.forwarded_allow_ips,
    }
    if not _is_known():
        plain = uvicorn.Config(app, timeout_graceful_shutdown=GRACE_SECONDS, **options)
        _PlainServer(plain, ready).run([listener])
        return
    from cstar_mock.serving.graceful_server import GracefulServer  # noqa: PLC0415
    from cstar_mock.serving.replay_connection import ReplayProtocol  # noqa: PLC0415

    graceful = uvicorn.Config(
        app,
        http=ReplayProtocol,
        timeout_graceful_shutdown=GRACE_SECONDS + _LAST_ANSWERS_SECONDS,  # type: ignore[arg-type]  # any number will do
        **options,
    )
    GracefulServer(graceful, ready, GRACE_SECONDS).run([listener])


def _is_known() -> bool:
    major, minor, *_ = uvicorn.__version__.split(".")
    return (int(major), int(minor)) <= NEWEST_KNOWN


class _PlainServer(uvicorn.Server):
    """A uvicorn server that reports when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()
