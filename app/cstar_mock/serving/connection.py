"""The HTTP/1.1 connection: uvicorn's, with bounds, and with our envelope for requests that never reach the application.

Requests that are invalid, too large or too slow are refused here, after the answers to earlier ones on the connection.
One timer for each connection looks at its deadline; a request sets the deadline and starts no timer.
"""

import asyncio
import logging
import select
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cstar_mock import bounds
from cstar_mock.contract import errors, ids
from cstar_mock.contract.errors import ApiError
from cstar_mock.http import head
from cstar_mock.http.extensions import CONNECTION, DRAINING
from cstar_mock.serving import connection_faults, refusals
from cstar_mock.serving.reading import Reading
from cstar_mock.traffic.fault_rules import ConnectionFault

DRAIN_SECONDS = 0.5
"""Seconds that an idle connection is kept when the server shuts down."""
_log = logging.getLogger("cstar_mock.requests")


class BoundedProtocol(HttpToolsProtocol):
    """One connection of a client, whose requests the application answers.

    When the server shuts down, a connection is kept for a moment: a request that is on its way is still answered, with
    `Connection: close`.

    Attributes:
        head_seconds: how long a head may take, from opening the connection or, later, from its first byte.
        stall_seconds: how long a body may pause, and a client may leave an answer unread.
        body_seconds: how long a body may take before it has to come at `LEAST_BODY_RATE`.
        half_close_seconds: how long after its request a client may close its side and still be answered.
        linger_seconds: how long a refused client may go on sending. Closing at once could destroy the answer.
    """

    head_seconds = 10.0
    stall_seconds = 10.0
    body_seconds = 20.0
    half_close_seconds = 0.1
    linger_seconds = 2.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # uvicorn would answer in plain text, and only once it has read a request.
        self._most_connections, self.limit_concurrency = self.limit_concurrency, None
        self._reading = Reading.NOTHING
        self._running: RequestResponseCycle | None = None
        self._packet = 0
        self._arrived = 0
        self._of_others = 0
        self._ended_one = False
        self._longest_body = bounds.LONGEST_BODY
        self._body = 0
        self._body_since: float | None = None
        self._complete_since = 0.0
        self._ended = False
        self._refusal: ApiError | None = None
        self._told = False
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._idle_since = 0.0
        self._extensions: dict[str, dict[object, object]] = {CONNECTION: {"break": self.break_off}}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many connections already."""
        super().connection_made(transport)
        most = self._most_connections
        if most is None or len(self.connections) <= most:
            self._wait(self.head_seconds)
            if self.app_state.get(DRAINING):
                self.shutdown()
        elif len(self.connections) <= most + bounds.SPARE_CONNECTIONS:
            # Told once the client has sent something: before, it need not expect an answer.
            self._refusal = errors.unavailable()
            self._wait(self.linger_seconds)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the running request that its client is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if self._running is not None:
            # With pipelining, uvicorn tells only the newest request that its client is gone.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the bytes of a refused client are discarded."""
        if self._refusal is not None:
            if self.cycle is None and not self._told:
                self._tell()
            return
        self._unset_keepalive_if_required()
        if self._deadline is None:
            self._deadline = self.loop.time() + self.head_seconds
        self._packet = len(data)
        self._ended_one = False
        if not self._parse(data):
            return
        if self._reading is not Reading.NOTHING:
            self._arrived += self._packet
            if self._deadline is None:  # the packet had the end of one request and the beginning of the next
                self._deadline = self.loop.time() + self.head_seconds
            self._check_the_incomplete()
        if self.app_state.get(DRAINING) and self._refusal is None and not self.transport.is_closing():
            self._close_soon_if_idle()

    def _parse(self, data: bytes) -> bool:
        """Parse the bytes; return whether they are HTTP, within its bounds."""
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            # The exception of a callback below is the context of the parser's own.
            cause = error.__context__
            self._refuse(cause if isinstance(cause, ApiError) else head.malformed(str(error) or "it can't be read"))
            return False
        return True

    def _feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._decline_upgrade()
            else:
                return

    def _decline_upgrade(self) -> None:
        """Read the head again without its request for an upgrade: the parser takes none with a body for one."""
        again = head.without_upgrade(self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(again)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own type
        """Answer the requests before the client closed its side; return whether the connection stays open for that."""
        self._ended = True
        if self._reading is not Reading.NOTHING and self._refusal is None:
            self._refuse(head.malformed("it ends before its end"))
            return not self.transport.is_closing()
        if self._told or self._is_idle() or self.loop.time() - self._complete_since > self.half_close_seconds:
            return False
        self.cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        """Serve the requests that were sent, and then close."""
        self.timeout_keep_alive = DRAIN_SECONDS  # type: ignore[assignment]  # any number will do
        # A response whose head is out has promised to keep the connection: the next one will say that it closes.
        if not self._is_idle() and not self.cycle.response_started:
            self.cycle.keep_alive = False
        self._close_soon_if_idle()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _close_soon_if_idle(self) -> None:
        if self._is_idle():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(DRAIN_SECONDS, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless there are bytes that were not read yet."""
        if self.transport.is_closing():
            return
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        if poll.poll(0):
            # Closing it now would reset it. An end of the connection is read as well, and closes it.
            self.timeout_keep_alive_task = self.loop.call_later(DRAIN_SECONDS, self.timeout_keep_alive_handler)
            return
        super().timeout_keep_alive_handler()

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        super().on_message_begin()
        self._reading = Reading.HEAD
        self._arrived = 0
        # Where in its packet a head begins is not known. If another request ends in the same packet, none of it counts.
        self._of_others = self._packet if self._ended_one else 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, without the white space after its value; trailers are ignored (RFC 9110, 5.5 and 6.5.1)."""
        if self._reading is Reading.HEAD:
            super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Start the request; its scope has the extension by which a fault rule can break the connection.

        Raises:
            ApiError: to the parser, which ends there; the head is not as it has to be, or announces too large a body.
        """
        head.check_method(self.parser.get_method())
        if self.parser.should_upgrade():
            return  # The parser stops at the end of the head, which is then read again.
        self._check_head()
        self._start()
        self._reading = Reading.BODY
        self._body = 0
        self._body_since = None
        self._arrived = -self._packet

    def _start(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        if before is None or before.response_complete:
            self._running = self.cycle  # uvicorn before 0.45 starts it by itself
        self.scope["extensions"] = self._extensions
        if self.app_state.get(DRAINING):
            if before is not None and not before.response_started:
                before.keep_alive = True  # Of pipelined requests, the last one's answer closes.
            self.cycle.keep_alive = False
        if self.expect_100_continue:
            # Once it is answered, its client may send the body or not: what comes next could be either.
            self.cycle.keep_alive = False
        if not self.cycle.keep_alive:
            self.cycle.default_headers = [one for one in self.cycle.default_headers if one[0] != b"keep-alive"]

    def on_body(self, body: bytes) -> None:
        """Take a part of the body.

        Raises:
            ApiError: to the parser; the body is too large.
        """
        self._body += len(body)
        if self._body > self._longest_body:
            raise head.content_too_large(self._longest_body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request; the answer may be under way already."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._ended_one = True
        self._complete_since = self.loop.time()
        self._reading = Reading.NOTHING
        self._deadline = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        if hasattr(super(), "_start_asgi_task"):
            super()._start_asgi_task(cycle, app)
        else:  # uvicorn before 0.45
            task = self.loop.create_task(cycle.run_asgi(app))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Go on with the next request, or send the refusal."""
        if self._refusal is None:
            self._complete()
            if self.transport.is_closing():
                return
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            elif self.app_state.get(DRAINING):
                self._close_soon_if_idle()
            return
        if self._reading is Reading.BODY and self.pipeline and self.pipeline[0][0] is self.cycle:
            self.pipeline.popleft()  # the refused request itself, which waited for its turn
        if self.pipeline:
            super().on_response_complete()
        else:
            self._tell()

    def _complete(self) -> None:
        self.server_state.total_requests += 1
        self._idle_since = self.loop.time()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._unsent = 0
        super().resume_writing()

    def break_off(self, fault: ConnectionFault) -> None:
        """Break the connection of the request that is served now."""
        cycle = self._running
        if cycle is None or cycle.disconnected:
            return
        cycle.disconnected = True  # uvicorn is not to answer in the application's place
        connection_faults.act(fault, self.transport)

    def _check_head(self) -> None:
        if self._arrived + self._packet > bounds.LONGEST_TARGET:  # a smaller request has no part that is too long
            head.check_size(self.url, self.headers)
        head.check_count(self.headers)
        self.url = head.origin_form(self.url, self.headers)
        length = head.check(self.parser.get_http_version(), self.headers)
        self._longest_body = head.longest_body(self.url)
        if length is not None and length > self._longest_body:
            raise head.content_too_large(self._longest_body)

    def _check_the_incomplete(self) -> None:
        if self._reading is Reading.BODY:
            now = self.loop.time()
            if self._body_since is None:
                self._body_since = now
            slowest = self._body_since + self.body_seconds + max(self._arrived, 0) / bounds.LEAST_BODY_RATE
            self._deadline = min(now + self.stall_seconds, slowest)
            # Lengths of chunks, and trailers, are no body, but can be as endless.
            if self._arrived > 2 * self._longest_body:
                self._refuse(head.content_too_large(self._longest_body))
        elif len(self.url) > bounds.LONGEST_TARGET:
            self._refuse(ApiError(errors.URI_TOO_LONG))
        elif self._arrived - self._of_others > bounds.LONGEST_HEAD:
            self._refuse(ApiError(errors.HEADERS_TOO_LARGE))

    def _refuse(self, error: ApiError) -> None:
        """Read no more requests; answer the earlier ones, then send the refusal and close the connection."""
        self._refusal = error
        self._deadline = None
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._reading is Reading.BODY:
                self._linger()  # the request has had its answer
            else:
                self._tell()
        elif self._reading is Reading.BODY and not self.pipeline:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
            else:
                self._tell()

    def _tell(self) -> None:
        error = self._refusal
        if error is None or self.transport.is_closing():
            return
        request_id, is_head = ids.request_id(), self.parser.get_method() == b"HEAD"
        self.transport.write(refusals.refusal(error, request_id, with_body=not is_head))
        _log.info("refused with %d: %s", error.kind.status, error.message, extra={"request_id": request_id})
        self._linger()

    def _linger(self) -> None:
        """Close the connection when the client does, or after a while."""
        if self.transport.is_closing():
            return
        self._told = True
        if self._ended:
            self.transport.close()
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self.transport.write_eof()
        self._wait(self.linger_seconds)

    def _wait(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(min(seconds, self.stall_seconds, self.timeout_keep_alive), self._look)

    def _look(self) -> None:
        """Check the deadline, and whether the client reads its answers."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent == self._unsent:
            connection_faults.reset(self.transport)
            return
        self._unsent = unsent
        now = self.loop.time()
        if self._deadline is not None and self._deadline <= now:
            self._deadline = None
            self._time_out(now)
        pause = min(self.stall_seconds, self.timeout_keep_alive)
        if self._deadline is not None:
            pause = min(pause, self._deadline - now)
        elif self._reading is Reading.NOTHING and self._is_idle():
            idle_for = now - self._idle_since
            if idle_for >= self.timeout_keep_alive:
                self.timeout_keep_alive_handler()
            else:
                pause = min(pause, self.timeout_keep_alive - idle_for)
        self._timer = self.loop.call_later(pause, self._look)

    def _time_out(self, now: float) -> None:
        cycle = self.cycle
        if self._refusal is not None or self._reading is Reading.NOTHING:
            self.transport.close()
        elif self.flow.read_paused or (cycle is not None and cycle.waiting_for_100_continue):
            self._deadline = now + self.stall_seconds  # the client waits for us
            self._body_since = None
        else:
            self._refuse(ApiError(errors.REQUEST_TIMEOUT))
