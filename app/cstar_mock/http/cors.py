"""CORS for browser clients of the API: any origin may call, with any header [ours].

Keys travel in `Authorization`, never in cookies, so a foreign page gains nothing that it could not do without
a browser. Nothing outside `/api/` is opened to foreign origins.
"""

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

EXPOSED = (
    "X-Request-Id",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Window",
    "Retry-After",
    "Preference-Applied",
    "X-Cstar-Mock-Hint",
)
"""Response headers that a script may read."""


def _has_origin(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name == b"origin" for name, _ in headers)


class ApiCORSMiddleware(CORSMiddleware):
    """Starlette's CORS, for `/api/` alone."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, allow_origins=["*"], allow_methods=["GET"], allow_headers=["*"], expose_headers=EXPOSED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith("/api/") and _has_origin(scope["headers"]):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight with 204, which has no body and so needs no envelope.

        One that asks for another method gets the same answer: the browser sees that only GET is allowed.
        """
        headers = super().preflight_response(request_headers).headers
        allowed = {name: value for name, value in headers.items() if not name.startswith("content-")}
        return Response(status_code=204, headers=allowed)
