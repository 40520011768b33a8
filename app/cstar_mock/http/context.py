"""The outermost layer: every request gets an id, every response its headers, every crash an answer.

Pure ASGI, as all our middleware: it costs microseconds and does not touch bodies.
"""

import logging
import time
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cstar_mock import errors, ids
from cstar_mock.clock import REAL_TIME, Instant
from cstar_mock.errors import ApiError
from cstar_mock.rate_limit import RateLimitStatus
from cstar_mock.security import Caller

_HEALTH_PATHS = ("/healthz", "/readyz")
_log = logging.getLogger("cstar_mock.requests")


@dataclass(slots=True)
class RequestContext:
    """What is known of the request so far; it grows on the request's way through the checks.

    Attributes:
        request_id: the id in `X-Request-Id`, the envelope and the log.
        started: when the request came, on the performance counter, in seconds.
        caller: the key, once it is known to be valid.
        rate_limit: where the key's window stands, once the request is counted.
        hint: what was wrong with the key, for the response header.
        status: the status of the response, once it has begun; 0 before.
    """

    request_id: str = field(default_factory=ids.request_id)
    started: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    rate_limit: RateLimitStatus | None = None
    hint: str | None = None
    status: int = 0

    def now(self) -> Instant:
        """Return the team's present instant, or real time as long as no team is known."""
        return (self.caller.clock if self.caller else REAL_TIME).now()


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"]["context"]
    return context


class RequestContextMiddleware:
    """Makes the context, writes its headers, logs the request, and answers what nobody else could."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = RequestContext()
        scope.setdefault("state", {})["context"] = context

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(context)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("crash in %s %s", scope["method"], scope["path"], extra=_names(context))
            if context.status:
                raise  # The response has begun: nothing can be said any more but to break it off.
            await _answer_crash(context, send_with_headers)
        finally:
            _log_request(context, scope)


def _headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-request-id", context.request_id.encode())]
    if context.rate_limit is not None:
        headers += context.rate_limit.headers()
    if context.hint is not None:
        headers.append((b"x-cstar-mock-hint", context.hint.encode()))
    return headers


async def _answer_crash(context: RequestContext, send: Send) -> None:
    body = errors.envelope_bytes(ApiError(errors.INTERNAL_ERROR), context.request_id, context.now())
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _log_request(context: RequestContext, scope: Scope) -> None:
    # A health check every second would bury everything else.
    level = logging.DEBUG if scope["path"] in _HEALTH_PATHS else logging.INFO
    if not _log.isEnabledFor(level):
        return
    milliseconds = (time.perf_counter() - context.started) * 1000
    _log.log(
        level,
        "%s %s %d",
        scope["method"],
        scope["path"],
        context.status,
        extra={
            "method": scope["method"],
            "path": scope["path"],
            "status": context.status,
            "duration_ms": round(milliseconds, 2),
            **_names(context),
        },
    )


def _names(context: RequestContext) -> dict[str, str]:
    names = {"request_id": context.request_id}
    if context.caller is not None:
        names |= {"team": context.caller.team_slug, "key": f"…{context.caller.last_four}"}
    return names
