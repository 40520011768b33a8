"""Applications inside an application: one under a prefix of its paths, and one that is built for its first request."""

import asyncio
import threading
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class Prefixed:
    """Passes every path under a prefix to another application, also paths that a mount would not match."""

    def __init__(self, app: ASGIApp, prefix: str, other: ASGIApp) -> None:
        self.app = app
        self.prefix = prefix
        self.other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self.prefix}/"):
            root_path = scope.get("root_path", "") + self.prefix
            await self.other({**scope, "root_path": root_path}, receive, send)
        else:
            await self.app(scope, receive, send)


class Lazy:
    """Builds an application for its first request, in a thread: other requests are served meanwhile."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._app: ASGIApp | None = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        app = self._app if self._app is not None else await asyncio.to_thread(self._built)
        await app(scope, receive, send)

    def _built(self) -> ASGIApp:
        with self._lock:
            app = self._app = self._app if self._app is not None else self._build()
            return app
