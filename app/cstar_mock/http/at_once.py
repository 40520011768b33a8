"""The connection that gives some answers itself: those that the application knows without being started.

Nothing is made for them that uvicorn makes to start an application: a task, its messages, their checks. What comes
again, equal to the byte, is not even parsed.
"""

from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from cstar_mock import bounds
from cstar_mock.cache import Cache
from cstar_mock.http.protocol import DRAINING, BoundedProtocol, Reading

AT_ONCE = "cstar_mock.at_once"
"""The name of what is in the state of an application that can give some answers without being started: a function of
the scope that returns the lines of the headers and the body of a 200, or None."""

SENT = "cstar_mock.sent"
"""The name of what an application keeps in a request's state that is the same for all requests equal to the byte."""

_KNOWN = "cstar_mock.known"
_SCOPE_BYTES = 3_000
"""Bytes of a scope, and of what the application has read out of it, without headers."""
_HEADER_BYTES = 500
"""Bytes of a header in both, without its text."""
_OK_LINE = STATUS_LINE[HTTPStatus.OK]


class Protocol(BoundedProtocol):
    """One connection of a client; what is known already is answered before the application is started."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._begun = 0
        self._tried: dict[str, Any] | None = None
        self._known: Cache[bytes, tuple[dict[str, Any], object]] = self.app_state.setdefault(_KNOWN, Cache())

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is known what has come."""
        at_the_beginning = self._reading is Reading.NOTHING
        if at_the_beginning and self._answer_again(data):
            return
        self._begun = 0
        super().data_received(data)
        is_one_request = at_the_beginning and self._begun == 1 and self._reading is Reading.NOTHING
        if is_one_request and self._answered and self._refusal is None:
            self._know(data)

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        super().on_message_begin()
        self._begun += 1

    def _start(self) -> None:
        if self._tried is not None:
            self.scope["state"], self._tried = self._tried, None
            super()._start()
        elif self._answer_at_once():
            self._answered = True
        else:
            super()._start()

    def _answer_at_once(self) -> bool:
        """Give an answer that the application knows already, if the request has nothing special and there is one."""
        parser = self.parser
        path, _, query = self.url.partition(b"?")
        if (
            parser.get_method() != b"GET"
            or not path.startswith(b"/api/")
            or b"%" in path
            or b"#" in self.url
            or not self.url.isascii()
            or not parser.should_keep_alive()
            or parser.get_http_version() != "1.1"
            or parser.should_upgrade()
            or self.expect_100_continue
            or not self._can_answer_at_once()
        ):
            return False
        self.scope |= {"method": "GET", "path": path.decode(), "raw_path": path, "query_string": query}
        return self._answered_by_application()

    def _answer_again(self, data: bytes) -> bool:
        """Answer a request that is known by its bytes, as one equal to it was answered at once.

        It need not be parsed again, and whatever the application read out of it need not be read again. If there is no
        answer now, it is parsed, and what was done for it until then is not done again.
        """
        known = self._known.get(data) if len(data) <= bounds.LONGEST_KNOWN_REQUEST else None
        if known is None or self._refusal is not None or not self._can_answer_at_once():
            return False
        scope, sent = known
        state = {**self.app_state, SENT: sent}
        self.scope = {**scope, "client": self.client, "server": self.server, "state": state}  # type: ignore[typeddict-item]
        if self._answered_by_application():
            self._unset_keepalive_if_required()
            self._deadline = None
            return True
        self._tried = state
        return False

    def _know(self, data: bytes) -> None:
        """Remember what the bytes of the request mean that was just answered at once."""
        if len(data) <= bounds.LONGEST_KNOWN_REQUEST:
            scope: dict[str, Any] = {**self.scope}
            size = _SCOPE_BYTES + _HEADER_BYTES * len(scope["headers"]) + 4 * len(data)
            self._known.put(data, (scope, scope.pop("state").get(SENT)), size, bounds.KNOWN_REQUEST_BYTES)

    def _can_answer_at_once(self) -> bool:
        return (
            AT_ONCE in self.app_state
            and self._is_idle()
            and not self.flow.write_paused
            and not self.app_state.get(DRAINING)
        )

    def _answered_by_application(self) -> bool:
        answer = self.app_state[AT_ONCE](self.scope)
        if answer is None:
            return False
        lines, body = answer
        default = b"".join([b"%s: %s\r\n" % header for header in self.server_state.default_headers])
        self.transport.write(b"%s%s%s\r\n%s" % (_OK_LINE, default, lines, body))
        self._complete()
        return True
