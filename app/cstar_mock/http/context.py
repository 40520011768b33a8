"""The context of a request while it is served."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Receive, Scope

from cstar_mock.contract import ids
from cstar_mock.contract.clock import REAL_TIME, Instant
from cstar_mock.contract.errors import ApiError
from cstar_mock.http.replies import Reply, error_reply
from cstar_mock.traffic.authentication import Caller
from cstar_mock.traffic.rate_limit import RateLimitStatus

CONTEXT = "cstar_mock.context"
"""The name of the context in the state of an ASGI scope."""


class Waiting(Protocol):
    """The recording of a request that can wait."""

    async def wait(self, seconds: float, receive: Receive) -> None:
        """Wait with the request recorded as pending."""


@dataclass(slots=True)
class RequestContext:
    """The facts known about a request; the checks add to them.

    Attributes:
        request_id: the id in `X-Request-Id`, the envelope, the log and the journal.
        started: the time of arrival, on the performance counter, in seconds.
        caller: the owner of the key, once the request is counted.
        rate_limit: the state of the key's window, once the request is counted.
        hint: the reason for refusing the key, for the response header.
        preference_applied: what the request's `Prefer` header asked for and got, for the response header.
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
    caller: Caller | None = None
    rate_limit: RateLimitStatus | None = None
    hint: str | None = None
    preference_applied: str | None = None
    fault: str | None = None
    code: str | None = None
    recorded_after: float | None = None
    status: int = 0
    complete: bool = False
    state_lost: bool = False
    recording: Waiting | None = None

    def now(self) -> Instant:
        """Return the team's present instant, or real time before the team is known."""
        return (self.caller.clock if self.caller else REAL_TIME).now()

    def seconds(self) -> float:
        """Return the seconds since the request arrived."""
        return time.perf_counter() - self.started

    def milliseconds(self) -> float:
        """Return the milliseconds until the request was recorded, or until now."""
        if self.recorded_after is None:
            self.recorded_after = round(self.seconds() * 1000, 2)
        return self.recorded_after

    def refuse(self, error: ApiError) -> Reply:
        """Return the envelope of an error, and note its code for the journal and the metrics."""
        self.code = error.kind.code
        return error_reply(error, self.request_id, self.now())

    def header_lines(self) -> bytes:
        """Return the headers that every response to the request has, as lines of its head."""
        lines = b"x-request-id: %s\r\n" % self.request_id.encode()
        if self.rate_limit is not None:
            lines += self.rate_limit.header_lines()
        if self.hint is not None:
            lines += b"x-cstar-mock-hint: %s\r\n" % self.hint.encode()
        if self.preference_applied is not None:
            lines += b"preference-applied: %s\r\n" % self.preference_applied.encode()
        return lines

    def log_fields(self) -> dict[str, str]:
        """Return the fields of every log line about the request."""
        fields = {"request_id": self.request_id}
        if self.caller is not None:
            fields["team"] = self.caller.team_slug
            fields["key"] = f"…{self.caller.last_four}"
        return fields


def context_of(scope: Scope) -> RequestContext:
    """Return the context of a request."""
    context: RequestContext = scope["state"][CONTEXT]
    return context
