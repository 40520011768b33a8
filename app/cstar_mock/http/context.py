"""The outermost layer: every request gets an id, every response its headers, every crash an answer.

What was asked and answered goes into the log and the journal from here, once the answer is known. Pure ASGI, as all
our middleware: it costs microseconds and does not touch bodies.
"""

import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cstar_mock import clock, errors, ids
from cstar_mock.clock import REAL_TIME, Instant
from cstar_mock.errors import ApiError
from cstar_mock.faults import ConnectionBroken
from cstar_mock.http.protocol import CONNECTION
from cstar_mock.journal import UNMATCHED, Entry, Journal, shown, shown_headers
from cstar_mock.rate_limit import RateLimitStatus
from cstar_mock.security import Caller

_HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
_ENDPOINTS = frozenset(("overview", "agents", "whoami"))
_log = logging.getLogger("cstar_mock.requests")


@dataclass(slots=True)
class RequestContext:
    """What is known of the request so far; it grows on the request's way through the checks.

    Attributes:
        request_id: the id in `X-Request-Id`, the envelope, the log and the journal.
        started: when the request came, on the performance counter, in seconds.
        caller: the key, once it is known to be valid.
        rate_limit: where the key's window stands, once the request is counted.
        hint: what was wrong with the key, for the response header.
        preference_applied: what the request's `Prefer` header asked for and got, for the response header.
        fault: the fault rule that decided about the request, or `Prefer`.
        code: the `error.code` that is answered.
        status: the status of the response, once it has begun; 0 before.
    """

    request_id: str = field(default_factory=ids.request_id)
    started: float = field(default_factory=time.perf_counter)
    caller: Caller | None = None
    rate_limit: RateLimitStatus | None = None
    hint: str | None = None
    preference_applied: str | None = None
    fault: str | None = None
    code: str | None = None
    status: int = 0

    def now(self) -> Instant:
        """Return the team's present instant, or real time as long as no team is known."""
        return (self.caller.clock if self.caller else REAL_TIME).now()


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"]["context"]
    return context


class Recorder(Protocol):
    """Counts requests, for whoever watches the server."""

    def begun(self) -> None:
        """Count a request as in progress."""

    def ended(self, context: RequestContext, method: str, path: str, seconds: float) -> None:
        """Count a request that was answered, or whose connection was broken."""


class RequestContextMiddleware:
    """Makes the context, writes its headers, records the request, and answers what nobody else could."""

    def __init__(self, app: ASGIApp, journal: Journal, monitoring: Recorder | None = None) -> None:
        self.app = app
        self.journal = journal
        self.monitoring = monitoring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        context = RequestContext()
        scope.setdefault("state", {})["context"] = context
        if self.monitoring is not None:
            self.monitoring.begun()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(context)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except ConnectionBroken as broken:
            connection = scope.get("extensions", {}).get(CONNECTION)
            if connection is None:
                raise  # Without a socket, a client in the same process sees the exception itself.
            connection["break"](broken.fault)
        except Exception:
            _log.exception("crash in %s %s", scope["method"], shown(scope["path"]), extra=_names(context))
            if context.status:
                raise  # The response has begun: nothing can be said any more but to break it off.
            await _answer_crash(context, send_with_headers)
        finally:
            self._record(context, scope)

    def _record(self, context: RequestContext, scope: Scope) -> None:
        seconds = time.perf_counter() - context.started
        if self.monitoring is not None:
            self.monitoring.ended(context, scope["method"], scope["path"], seconds)
        milliseconds = round(seconds * 1000, 2)
        path = shown(scope["path"])
        if self.journal.size and not path.startswith(_UNRECORDED):
            self.journal.record(
                context.caller.team_id if context.caller else UNMATCHED, _entry(context, scope, path, milliseconds)
            )
        # A health check or a scrape every second would bury everything else.
        level = logging.DEBUG if path in _HEALTH_PATHS else logging.INFO
        if _log.isEnabledFor(level):
            _log.log(
                level,
                "%s %s %d",
                scope["method"],
                path,
                context.status,
                extra={
                    "method": scope["method"],
                    "path": path,
                    "status": context.status,
                    "duration_ms": milliseconds,
                    **_names(context),
                },
            )


_UNRECORDED = ("/__admin", "/docs", "/openapi.json", *_HEALTH_PATHS)
"""Paths that no client of the API asks for."""


def _headers(context: RequestContext) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-request-id", context.request_id.encode())]
    if context.rate_limit is not None:
        headers += context.rate_limit.headers()
    if context.hint is not None:
        headers.append((b"x-cstar-mock-hint", context.hint.encode()))
    if context.preference_applied is not None:
        headers.append((b"preference-applied", context.preference_applied.encode()))
    return headers


async def _answer_crash(context: RequestContext, send: Send) -> None:
    context.code = errors.INTERNAL_ERROR.code
    body = errors.envelope_bytes(ApiError(errors.INTERNAL_ERROR), context.request_id, context.now())
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _entry(context: RequestContext, scope: Scope, path: str, milliseconds: float) -> Entry:
    caller = context.caller
    name = path.rsplit("/", 1)[-1]
    return Entry(
        id=context.request_id,
        received_at=clock.real_now() - int(milliseconds * 1000),
        team_time=context.now(),
        method=scope["method"],
        path=path,
        query=shown(scope["query_string"].decode("latin-1")),
        endpoint=name if name in _ENDPOINTS else None,
        headers=shown_headers(scope["headers"]),
        key=None
        if caller is None
        else {
            "type": caller.key_type,
            "environment": caller.environment,
            "lastFour": caller.last_four,
            "name": caller.key_name,
        },
        status=context.status,
        code=context.code,
        duration_ms=milliseconds,
        fault=context.fault,
    )


def _names(context: RequestContext) -> dict[str, str]:
    names = {"request_id": context.request_id}
    if context.caller is not None:
        names |= {"team": context.caller.team_slug, "key": f"…{context.caller.last_four}"}
    return names
