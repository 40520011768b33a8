"""The connection that asks for a replay before it starts the application for a request.

Nothing is made for a replay that uvicorn makes to start an application: a task, its messages, their checks. A request
that comes again, equal to the byte, is not even parsed.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from cstar_mock import bounds
from cstar_mock.http import facts
from cstar_mock.http.extensions import DRAINING, REPLAY
from cstar_mock.http.facts import FACTS, Client, RequestFacts
from cstar_mock.http.replies import Reply
from cstar_mock.serving.connection import BoundedProtocol
from cstar_mock.serving.reading import Reading
from cstar_mock.traffic.cache import Cache

Replay: TypeAlias = Callable[[RequestFacts, Client], Reply | None]
"""Returns the whole response to a request, or None if the application has to be started for it."""

_KNOWN = "cstar_mock.known_requests"
_FACTS_BYTES = 3_000
"""Bytes of the facts of a request, without headers."""
_HEADER_BYTES = 500
"""Bytes of a header among the facts, without its text."""


class _Replayed:
    """Replaces uvicorn's cycle for a replayed request: its response is complete."""

    response_started = response_complete = keep_alive = True
    disconnected = waiting_for_100_continue = False
    message_event = asyncio.Event()


_REPLAYED = cast("RequestResponseCycle", _Replayed())


class ReplayProtocol(BoundedProtocol):
    """One connection of a client, whose requests are replayed or answered by the application."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._replay: Replay | None = self.app_state.get(REPLAY)
        self._known: Cache[bytes, RequestFacts] = self.app_state.setdefault(_KNOWN, Cache())
        self._of_packet: list[RequestFacts | None] = []

    def data_received(self, data: bytes) -> None:
        """Replay the answer to a request that is known by its bytes; read on otherwise."""
        is_beginning = self._reading is Reading.NOTHING and self._refusal is None
        known = self._known.get(data) if is_beginning and len(data) <= bounds.LONGEST_KNOWN_REQUEST else None
        if known is not None and self._answer(known):
            self._unset_keepalive_if_required()
            self._deadline = None
            return
        self._of_packet.clear()
        super().data_received(data)
        is_whole = is_beginning and self._reading is Reading.NOTHING and self._refusal is None
        if is_whole and len(self._of_packet) == 1 and len(data) <= bounds.LONGEST_KNOWN_REQUEST:
            self._know(data, self._of_packet[0])

    def _start(self) -> None:
        read = self._facts()
        is_replayed = read is not None and self._answer(read)
        self._of_packet.append(read if is_replayed else None)
        if is_replayed:
            self.cycle = _REPLAYED
            return
        if read is not None:
            self.scope["state"][FACTS] = read
        super()._start()

    def _facts(self) -> RequestFacts | None:
        """Return the facts of the request whose head was read, or None if it can't be a replay."""
        path, _, query = self.url.partition(b"?")
        if (
            self._replay is None
            or self.parser.get_method() != b"GET"
            or not path.startswith(b"/api/")
            or b"%" in path
            or b"#" in self.url
            or not self.url.isascii()
            or self.root_path
            or not self.parser.should_keep_alive()
            or self.parser.get_http_version() != "1.1"
            or self.expect_100_continue
        ):
            return None
        return facts.read("GET", path.decode(), query, self.headers)

    def _answer(self, read: RequestFacts) -> bool:
        """Replay the answer to a request; return False if it has none now, or if an earlier one is still due."""
        if self._replay is None or not self._is_idle() or self.flow.write_paused or self.app_state.get(DRAINING):
            return False
        reply = self._replay(read, self.client)
        if reply is None:
            return False
        default = b"".join([b"%s: %s\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(b"%s%s%s\r\n%s" % (STATUS_LINE[reply.status], default, reply.lines, reply.body))
        self._complete()
        return True

    def _know(self, data: bytes, read: RequestFacts | None) -> None:
        """Keep the facts of a request that was replayed, by its bytes."""
        if read is not None:
            size = _FACTS_BYTES + _HEADER_BYTES * len(read.headers) + 4 * len(data)
            self._known.put(data, read, size, bounds.KNOWN_REQUEST_BYTES)
