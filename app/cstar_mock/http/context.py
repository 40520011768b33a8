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
from cstar_mock.errors import ApiError, StateUnavailable
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
        key: the digest of the key that the request was sent with, once it is looked up; None for no key.
        authenticated: whom the key stands for, once it is looked up.
        caller: the same, once the request is counted.
        rate_limit: where the key's window stands, once the request is counted.
        hint: what was wrong with the key, for the response header.
        preference_applied: what the request's `Prefer` header asked for and got, for the response header.
        fault: the fault rule that decided about the request, or `Prefer`.
        code: the `error.code` that is answered.
        status: the status of the response, once it has begun; 0 before.
        state_lost: whether the shared state was out of reach, so that nothing can be recorded.
    """

    request_id: str = field(default_factory=ids.request_id)
    started: float = field(default_factory=time.perf_counter)
    key: bytes | None = None
    authenticated: Caller | None = None
    caller: Caller | None = None
    rate_limit: RateLimitStatus | None = None
    hint: str | None = None
    preference_applied: str | None = None
    fault: str | None = None
    code: str | None = None
    status: int = 0
    state_lost: bool = False

    def now(self) -> Instant:
        """Return the team's present instant, or real time as long as no team is known."""
        return (self.caller.clock if self.caller else REAL_TIME).now()

    def seconds(self) -> float:
        """Return how long the request has taken so far."""
        return time.perf_counter() - self.started

    def milliseconds(self) -> float:
        """Return how long the request has taken so far, in milliseconds."""
        return round(self.seconds() * 1000, 2)


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
        path = shown(scope["path"])
        try:
            await self._serve(context, path, scope, receive, send)
        finally:
            if self.monitoring is not None:
                self.monitoring.ended(context, scope["method"], scope["path"], context.seconds())
            _write_log_line(context, scope, path)

    async def _serve(self, context: RequestContext, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_headers(context)]
            await send(message)

        async def send_once_recorded(message: Message) -> None:
            # Whoever has an answer finds it in the journal, whichever worker is asked for that.
            nonlocal replaced
            if message["type"] == "http.response.start":
                context.status = message["status"]
                replaced = not await self._recorded(context, scope, path, send_with_headers)
                if not replaced:
                    await send_with_headers(message)
            elif not replaced:
                await send(message)

        try:
            await self.app(scope, receive, send_once_recorded)
        except ConnectionBroken as broken:
            if await self._recorded(context, scope, path, send_with_headers):
                _break(scope, broken)
        except Exception:  # noqa: BLE001  (logged with all that is known, and answered)
            await _answer_crash(context, scope, path, send_once_recorded)

    async def _recorded(self, context: RequestContext, scope: Scope, path: str, send: Send) -> bool:
        """Record the request; if the journal is out of reach, answer that instead, and return False."""
        if not self.journal.size or context.state_lost or path.startswith(_UNRECORDED):
            return True
        team_id = context.caller.team_id if context.caller else UNMATCHED
        try:
            await self.journal.record(team_id, _entry(context, scope, path))
        except StateUnavailable as error:
            _log.error("%s can't be reached: %s", error.what, error.__cause__)
            await _answer(context, error, send)
            return False
        return True


def _break(scope: Scope, broken: ConnectionBroken) -> None:
    connection = scope.get("extensions", {}).get(CONNECTION)
    if connection is None:
        raise broken  # Without a socket, a client in the same process sees the exception itself.
    connection["break"](broken.fault)


def _write_log_line(context: RequestContext, scope: Scope, path: str) -> None:
    # A health check every second would bury everything else.
    level = logging.DEBUG if path in _HEALTH_PATHS else logging.INFO
    if _log.isEnabledFor(level):
        # Made here, as a logger would first look for the line of code that it is called from.
        arguments = (scope["method"], path, context.status)
        record = logging.LogRecord(_log.name, level, "", 0, "%s %s %d", arguments, None)
        record.__dict__.update(
            method=scope["method"],
            path=path,
            status=context.status,
            duration_ms=context.milliseconds(),
            **_names(context),
        )
        _log.handle(record)


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


async def _answer_crash(context: RequestContext, scope: Scope, path: str, send: Send) -> None:
    _log.exception("crash in %s %s", scope["method"], path, extra=_names(context))
    if context.status:
        raise  # noqa: PLE0704  # The response has begun: nothing can be said any more but to break it off.
    await _answer(context, ApiError(errors.INTERNAL_ERROR), send)


async def _answer(context: RequestContext, error: ApiError, send: Send) -> None:
    context.code, context.status = error.kind.code, error.kind.status
    body = errors.envelope_bytes(error, context.request_id, context.now())
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _entry(context: RequestContext, scope: Scope, path: str) -> Entry:
    caller = context.caller
    milliseconds = context.milliseconds()
    name = path.rsplit("/", 1)[-1]
    return Entry(
        id=context.request_id,
        received_at=clock.real_now() - int(milliseconds * 1000),
        team_time=context.now(),
        method=scope["method"],
        path=path,
        query=shown(scope["query_string"].decode("latin-1")) if scope["query_string"] else "",
        endpoint=name if name in _ENDPOINTS else None,
        headers=shown_headers(scope["headers"]),
        key=None if caller is None else caller.shown,
        status=context.status,
        code=context.code,
        duration_ms=milliseconds,
        fault=context.fault,
    )


def _names(context: RequestContext) -> dict[str, str]:
    names = {"request_id": context.request_id}
    if context.caller is not None:
        names["team"] = context.caller.team_slug
        names["key"] = f"…{context.caller.last_four}"
    return names
