"""The outermost layer: every request gets an id, every response its headers, every crash an answer.

Each request goes into the log and the journal from here, once its answer is known. Pure ASGI, as all
our middleware: it costs microseconds and does not touch bodies.
"""

import logging
import sys
import time
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from sys import getsizeof
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cstar_mock import errors, ids
from cstar_mock.clock import REAL_TIME, Instant
from cstar_mock.errors import ApiError, StateUnavailable, Unavailable
from cstar_mock.faults import ConnectionBroken, ConnectionFault
from cstar_mock.http.at_once import AT_ONCE, SENT
from cstar_mock.http.protocol import CONNECTION
from cstar_mock.http.recording import ANSWERED, ClientGone, Recording, entry_of, team_of
from cstar_mock.journal import Journal, RequestState, shown, shown_headers
from cstar_mock.rate_limit import RateLimitStatus
from cstar_mock.security import Caller, key_digest

_HEALTH_PATHS = ("/healthz", "/readyz", "/metrics")
_ENDPOINTS = frozenset(("overview", "agents", "whoami"))
_FOR_OTHERS = frozenset((b"origin", b"x-forwarded-for"))
"""Headers that the middleware around the application reads."""
_log = logging.getLogger("cstar_mock.requests")


@dataclass(slots=True)
class RequestContext:
    """What is known of the request so far; it grows on the request's way through the checks.

    Attributes:
        request_id: the id in `X-Request-Id`, the envelope, the log and the journal.
        started: when the request came, on the performance counter, in seconds.
        authenticated: whom the key stands for, once it is looked up.
        caller: the same, once the request is counted.
        rate_limit: where the key's window stands, once the request is counted.
        hint: what was wrong with the key, for the response header.
        preference_applied: what the request's `Prefer` header asked for and got, for the response header.
        looked_up: whether the replay lane has looked for a remembered answer already.
        failure: what the replay lane met with; the router raises it.
        fault: the fault rule that decided about the request, or `Prefer`.
        code: the `error.code` that is answered.
        recorded_after: in how many milliseconds the answer was known, once it was asked for.
        status: the status of the response, once it has begun; 0 before.
        complete: whether the response was sent to its end.
        state_lost: whether the shared state was out of reach, so that nothing can be recorded.
        recording: its entry in the journal, once the application is started for it.
    """

    request_id: str = field(default_factory=ids.request_id)
    started: float = field(default_factory=time.perf_counter)
    authenticated: Caller | None = None
    caller: Caller | None = None
    rate_limit: RateLimitStatus | None = None
    hint: str | None = None
    preference_applied: str | None = None
    looked_up: bool = False
    failure: Exception | None = None
    fault: str | None = None
    code: str | None = None
    recorded_after: float | None = None
    status: int = 0
    complete: bool = False
    state_lost: bool = False
    recording: Recording | None = None

    def now(self) -> Instant:
        """Return the team's present instant, or real time as long as no team is known."""
        return (self.caller.clock if self.caller else REAL_TIME).now()

    def seconds(self) -> float:
        """Return how long the request has taken so far."""
        return time.perf_counter() - self.started

    def milliseconds(self) -> float:
        """Return how long it took until the request was recorded, or has taken so far, in milliseconds."""
        if self.recorded_after is None:
            self.recorded_after = round(self.seconds() * 1000, 2)
        return self.recorded_after


class Sent(NamedTuple):
    """What a request says, read once: for all requests that are equal to the byte if our own server serves them.

    Attributes:
        key: the digest of the key that it was sent with; None for no key.
        path: as it may be kept and logged.
        query: as it may be kept.
        endpoint: `overview`, `agents` or `whoami`, if the path is one of theirs.
        headers: as they may be kept.
        size: the bytes of path, query and headers in the journal.
        has_preference: whether there is a `Prefer`.
        is_for_others: whether a header is for the middleware around the application.
    """

    key: bytes | None
    path: str
    query: str
    endpoint: str | None
    headers: tuple[tuple[str, str], ...]
    size: int
    has_preference: bool
    is_for_others: bool


def sent_of(scope: Scope) -> Sent:
    """Return what a request says."""
    state = scope.setdefault("state", {})
    sent: Sent | None = state.get(SENT)
    if sent is None:
        headers, path = scope["headers"], shown(scope["path"])
        names = {name for name, _ in headers}
        query = shown(scope["query_string"].decode("latin-1")) if scope["query_string"] else ""
        endpoint = path.rsplit("/", 1)[-1]
        kept, size = shown_headers(headers)
        sent = state[SENT] = Sent(
            key_digest(headers),
            path,
            query,
            endpoint if endpoint in _ENDPOINTS else None,
            kept,
            size + getsizeof(path) + getsizeof(query),
            b"prefer" in names,
            not _FOR_OTHERS.isdisjoint(names),
        )
    return sent


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"]["context"]
    return context


_OK = int(HTTPStatus.OK)
_JSON_LINES = b"content-length: %d\r\ncontent-type: application/json\r\n"

T = TypeVar("T")

Replayed: TypeAlias = Callable[[Scope], Coroutine[Any, Any, bytes | None]]


class Recorder(Protocol):
    """Counts requests, for whoever watches the server."""

    def begun(self) -> None:
        """Count a request as in progress."""

    def ended(self, context: RequestContext, method: str, path: str, seconds: float) -> None:
        """Count a request that was answered, or whose connection was broken."""


class RequestContextMiddleware:
    """Makes the context, writes its headers, records the request, and answers what nobody else could."""

    def __init__(
        self, app: ASGIApp, journal: Journal, monitoring: Recorder | None = None, replayed: Replayed | None = None
    ) -> None:
        """Wrap an application.

        Args:
            app: what to wrap.
            journal: where requests are recorded.
            monitoring: who counts them, if anybody does.
            replayed: gives the body of a 200 that is known already; only where neither it nor the journal ever waits.
        """
        self.app = app
        self.journal = journal
        self.monitoring = monitoring
        self.replayed = replayed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan" and self.replayed is not None and "state" in scope:
                scope["state"][AT_ONCE] = self.at_once
            await self.app(scope, receive, send)
            return
        context = scope.get("state", {}).get("context") or self._begin(scope)
        try:
            await self._serve(context, scope, receive, send)
        finally:
            self._end(context, scope)

    def at_once(self, scope: Scope) -> tuple[bytes, bytes] | None:
        """Return the lines of the headers and the body of a 200 that can be given without waiting for anything.

        It is for a server that asks before it starts the application, which costs more than such an answer does.
        If it is None, the application has to be started with the same scope, where all that was done already stands.
        """
        context = self._begin(scope)
        if self.replayed is None or sent_of(scope).is_for_others:
            return None
        try:
            body = _without_waiting(self.replayed(scope))
            if body is None:
                return None
            context.status = _OK
            if self._is_recorded(scope):
                entry = entry_of(context, scope["method"], sent_of(scope), ANSWERED)
                _without_waiting(self.journal.record(team_of(context), entry))
            self._end(context, scope)
        except Exception as crash:  # noqa: BLE001  (raised where it is logged with all that is known, and answered)
            context.failure = crash
            return None
        return b"%s%s" % (_JSON_LINES % len(body), _header_lines(context)), body

    def _begin(self, scope: Scope) -> RequestContext:
        context = scope.setdefault("state", {})["context"] = RequestContext()
        if self.monitoring is not None:
            self.monitoring.begun()
        return context

    def _end(self, context: RequestContext, scope: Scope) -> None:
        if self.monitoring is not None:
            self.monitoring.ended(context, scope["method"], scope["path"], context.seconds())
        _write_log_line(context, scope)

    async def _serve(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False
        recording = context.recording = self._recording(context, scope)
        send_with_headers = _with_headers(context, send)

        async def send_once_recorded(message: Message) -> None:
            # Record before sending, so that a client that has its answer finds it in the journal, on any worker.
            nonlocal replaced
            if message["type"] == "http.response.start":
                context.status = message["status"]
                replaced = not await self._recorded(context, ANSWERED, receive, send_with_headers)
                if not replaced:
                    await send_with_headers(message)
            elif not replaced:
                context.complete = not message.get("more_body", False)
                await send(message)

        try:
            await self.app(scope, receive, send_once_recorded)
        except ConnectionBroken as broken:
            if await self._recorded(context, ANSWERED, receive, send_with_headers):
                _break(scope, broken)
        except ClientGone:
            await self._recorded(context, RequestState.CLIENT_GONE, receive, send_with_headers)
        except (CancelledError, Exception) as failure:  # noqa: BLE001  (logged with all that is known, and answered)
            await _answer_failure(context, scope, send_once_recorded, failure)
        finally:
            recording.close()

    async def _recorded(self, context: RequestContext, state: RequestState, receive: Receive, send: Send) -> bool:
        """Record how the request ended; if the journal is out of reach, answer that instead, and return False."""
        if context.state_lost or context.recording is None:
            return True
        try:
            await context.recording.end(state, receive)
        except StateUnavailable as error:
            log_unavailable(context, error)
            await _answer(context, error, send)
            return False
        return True

    def _recording(self, context: RequestContext, scope: Scope) -> Recording:
        journal = self.journal if self._is_recorded(scope) else None
        recording = Recording(journal, context, scope["method"], sent_of(scope))
        if self.replayed is None:  # else only fault rules let a request wait
            recording.watch()
        return recording

    def _is_recorded(self, scope: Scope) -> bool:
        return self.journal.size > 0 and not sent_of(scope).path.startswith(_UNRECORDED)


def _without_waiting(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits, and so needs no event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError(f"{work} waits")


def json_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers that describe a body of JSON."""
    return list(_pairs(_JSON_LINES % len(body)))


def _break(scope: Scope, broken: ConnectionBroken) -> None:
    connection = scope.get("extensions", {}).get(CONNECTION)
    if connection is None:
        raise broken  # Without a socket, a client in the same process sees the exception itself.
    connection["break"](broken.fault)


def _write_log_line(context: RequestContext, scope: Scope) -> None:
    path = sent_of(scope).path
    # A health check every second would bury everything else.
    level = logging.DEBUG if path in _HEALTH_PATHS else logging.INFO
    if _log.isEnabledFor(level):
        _log.handle(_RequestRecord(level, context, scope["method"], path))


class _RequestRecord(logging.LogRecord):
    """A log record of a request, made without finding out what no line of ours has: that costs more than the line."""

    team: str | None = None
    key: str | None = None

    def __init__(self, level: int, context: RequestContext, method: str, path: str) -> None:
        self.name, self.msg, self.args = _log.name, "%s %s %d", (method, path, context.status)
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created = time.time()
        self.msecs = float(int(self.created % 1 * 1000))
        # What any formatter may ask for.
        self.pathname = self.filename = self.module = self.funcName = ""
        self.lineno, self.relativeCreated = 0, 0.0
        self.exc_info = self.exc_text = self.stack_info = None
        self.thread = self.threadName = self.process = self.processName = None
        if sys.version_info >= (3, 12):
            self.taskName = None
        self.method, self.path, self.status = method, path, context.status
        self.duration_ms = context.milliseconds()
        self.request_id = context.request_id
        if context.caller is not None:
            self.team = context.caller.team_slug
            self.key = f"…{context.caller.last_four}"


_UNRECORDED = ("/__admin", "/docs", "/openapi.json", *_HEALTH_PATHS)
"""Paths that no client of the API asks for."""


def _header_lines(context: RequestContext) -> bytes:
    """Return what a response's head says of the request, as lines: one by one, they would cost three times as much."""
    lines = b"x-request-id: %s\r\n" % context.request_id.encode()
    if context.rate_limit is not None:
        lines += context.rate_limit.header_lines()
    if context.hint is not None:
        lines += b"x-cstar-mock-hint: %s\r\n" % context.hint.encode()
    if context.preference_applied is not None:
        lines += b"preference-applied: %s\r\n" % context.preference_applied.encode()
    return lines


def _with_headers(context: RequestContext, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_pairs(_header_lines(context))]
        await send(message)

    return send_with_headers


def _pairs(lines: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in lines.splitlines():
        name, _, value = line.partition(b": ")
        yield name, value


async def _answer_failure(context: RequestContext, scope: Scope, send: Send, failure: BaseException) -> None:
    """Log a crash, or that our server cancels the request as it takes longer than the way out may, and answer it."""
    is_our_server = CONNECTION in scope.get("extensions", {})
    error = ApiError(errors.INTERNAL_ERROR)
    if isinstance(failure, CancelledError):
        if not is_our_server:
            raise failure  # another server has reasons of its own
        _log.warning("cancelled %s %s", scope["method"], sent_of(scope).path, extra=log_fields(context))
        error = errors.unavailable()
        error.headers["Connection"] = "close"
    else:
        _log.exception("crash in %s %s", scope["method"], sent_of(scope).path, extra=log_fields(context))
    if not context.status:
        await _answer(context, error, send)
    elif not is_our_server:
        raise failure
    elif not context.complete:
        _break(scope, ConnectionBroken(ConnectionFault.EMPTY_RESPONSE))


def log_unavailable(context: RequestContext, error: Unavailable) -> None:
    """Log what is unavailable, and why."""
    _log.error("%s: %s", error.sentence, error.reason, extra=log_fields(context))


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


def log_fields(context: RequestContext) -> dict[str, str]:
    """Return what every log line about a request says."""
    names = {"request_id": context.request_id}
    if context.caller is not None:
        names["team"] = context.caller.team_slug
        names["key"] = f"…{context.caller.last_four}"
    return names
