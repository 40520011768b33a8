"""The outermost layer: every request gets an id, every response its headers, every crash an answer.

Each request goes into the log and the journal from here, once its answer is known. Pure ASGI, as all
our middleware: it costs microseconds and does not touch bodies.
"""

from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cstar_mock.contract import errors
from cstar_mock.contract.errors import ApiError, StateUnavailable
from cstar_mock.http.context import CONTEXT, RequestContext
from cstar_mock.http.extensions import CONNECTION, REPLAY
from cstar_mock.http.facts import Client, RequestFacts, facts_of
from cstar_mock.http.recording import ANSWERED, ClientGone, Recording, entry_of, team_of
from cstar_mock.http.replies import Reply, pairs
from cstar_mock.http.request_log import HEALTH_PATHS, log_answer, log_unavailable, logger
from cstar_mock.traffic.fault_rules import ConnectionFault
from cstar_mock.traffic.faults import ConnectionBroken
from cstar_mock.traffic.journal import Journal, RequestState

_UNRECORDED = ("/__admin", "/docs", "/openapi.json", *HEALTH_PATHS)
"""Paths that no client of the API asks for."""

T = TypeVar("T")


class Recorder(Protocol):
    """Counts requests, for the metrics."""

    def begun(self) -> None:
        """Count a request as in progress."""

    def ended(self) -> None:
        """Count a request as no longer in progress."""

    def answered(self, context: RequestContext, facts: RequestFacts) -> None:
        """Count a request that was answered, or whose connection was broken."""


class Replay(Protocol):
    """The answer to a request that was answered before."""

    async def respond(self, context: RequestContext) -> Reply:
        """Count the request, and return its answer."""


Find: TypeAlias = Callable[[RequestFacts, Client], Coroutine[Any, Any, Replay | None]]
"""Returns the replay of a request; None if the application has to answer it."""


class RequestContextMiddleware:
    """Makes the context, writes its headers, records the request, and answers crashes."""

    def __init__(
        self, app: ASGIApp, journal: Journal, monitoring: Recorder | None = None, find: Find | None = None
    ) -> None:
        """Wrap an application.

        Args:
            app: what to wrap.
            journal: where requests are recorded.
            monitoring: who counts them, if anybody does.
            find: finds replays; only where neither they nor the journal ever wait.
        """
        self.app = app
        self.journal = journal
        self.monitoring = monitoring
        self.find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan" and self.find is not None and "state" in scope:
                scope["state"][REPLAY] = self.replay
            await self.app(scope, receive, send)
            return
        facts, context = facts_of(scope), RequestContext()
        if self.monitoring is not None:
            self.monitoring.begun()
        scope["state"][CONTEXT] = context
        try:
            await self._serve(context, facts, scope, receive, send)
        finally:
            if self.monitoring is not None:
                self.monitoring.ended()
            self._end(context, facts)

    def replay(self, facts: RequestFacts, client: Client) -> Reply | None:
        """Answer a request before the application is started for it, which costs more than such an answer does.

        Returns:
            The whole response; None if the application has to answer, and then nothing was done for the request.
        """
        if self.find is None or facts.is_for_others:
            return None
        try:
            replay = _without_waiting(self.find(facts, client))
        except Exception:  # noqa: BLE001  (the application meets it as well, where it is logged and answered)
            return None
        if replay is None:
            return None
        context = RequestContext()  # in progress for no one: nothing runs until it has ended
        reply = _without_waiting(self._respond(replay, context, facts))
        self._end(context, facts)
        return Reply(reply.status, reply.lines + context.header_lines(), reply.body)

    async def _respond(self, replay: Replay, context: RequestContext, facts: RequestFacts) -> Reply:
        try:
            reply = await replay.respond(context)
        except Exception:  # noqa: BLE001  (logged with all that is known, and answered)
            _log_crash(context, facts)
            reply = context.refuse(ApiError(errors.INTERNAL_ERROR))
        context.status = reply.status
        if self._is_recorded(facts):
            await self.journal.record(team_of(context), entry_of(context, facts, ANSWERED))
        return reply

    def _end(self, context: RequestContext, facts: RequestFacts) -> None:
        if self.monitoring is not None:
            self.monitoring.answered(context, facts)
        log_answer(context, facts)

    async def _serve(
        self, context: RequestContext, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        replaced = False
        recording = context.recording = Recording(self.journal if self._is_recorded(facts) else None, context, facts)
        if self.find is None:  # else only fault rules let a request wait
            recording.watch()
        send_with_headers = _with_headers(context, send)

        async def send_once_recorded(message: Message) -> None:
            # Record before sending, so that a client that has its answer finds it in the journal, on any worker.
            nonlocal replaced
            if message["type"] == "http.response.start":
                context.status = message["status"]
                replaced = not await _record(context, recording, ANSWERED, receive, send_with_headers)
                if not replaced:
                    await send_with_headers(message)
            elif not replaced:
                context.complete = not message.get("more_body", False)
                await send(message)

        try:
            await self.app(scope, receive, send_once_recorded)
        except ConnectionBroken as broken:
            if await _record(context, recording, ANSWERED, receive, send_with_headers):
                _break(scope, broken)
        except ClientGone:
            await _record(context, recording, RequestState.CLIENT_GONE, receive, send_with_headers)
        except (CancelledError, Exception) as failure:  # noqa: BLE001  (logged with all that is known, and answered)
            await _answer_failure(context, facts, scope, send_once_recorded, failure)
        finally:
            recording.close()

    def _is_recorded(self, facts: RequestFacts) -> bool:
        return self.journal.size > 0 and not facts.shown_path.startswith(_UNRECORDED)


def _without_waiting(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits, and so needs no event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError(f"{work} waits")


async def _record(
    context: RequestContext, recording: Recording, state: RequestState, receive: Receive, send: Send
) -> bool:
    """Record the end of the request; if the journal can't be reached, answer 503 instead, and return False."""
    if context.state_lost:
        return True
    try:
        await recording.end(state, receive)
    except StateUnavailable as error:
        log_unavailable(context, error)
        await _refuse(context, error, send)
        return False
    return True


def _break(scope: Scope, broken: ConnectionBroken) -> None:
    connection = scope.get("extensions", {}).get(CONNECTION)
    if connection is None:
        raise broken  # Without a socket, a client in the same process sees the exception itself.
    connection["break"](broken.fault)


def _with_headers(context: RequestContext, send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *pairs(context.header_lines())]
        await send(message)

    return send_with_headers


def _log_crash(context: RequestContext, facts: RequestFacts) -> None:
    logger.exception("crash in %s %s", facts.method, facts.shown_path, extra=context.log_fields())


async def _answer_failure(
    context: RequestContext, facts: RequestFacts, scope: Scope, send: Send, failure: BaseException
) -> None:
    """Log a crash, or that our server cancels the request as it takes longer than a shutdown may, and answer it."""
    is_our_server = CONNECTION in scope.get("extensions", {})
    error = ApiError(errors.INTERNAL_ERROR)
    if isinstance(failure, CancelledError):
        if not is_our_server:
            raise failure  # another server has its own reasons
        logger.warning("cancelled %s %s", facts.method, facts.shown_path, extra=context.log_fields())
        error = errors.unavailable()
        error.headers["Connection"] = "close"
    else:
        _log_crash(context, facts)
    if not context.status:
        await _refuse(context, error, send)
    elif not is_our_server:
        raise failure
    elif not context.complete:
        _break(scope, ConnectionBroken(ConnectionFault.EMPTY_RESPONSE))


async def _refuse(context: RequestContext, error: ApiError, send: Send) -> None:
    reply = context.refuse(error)
    context.status = reply.status
    await reply.send(send)
