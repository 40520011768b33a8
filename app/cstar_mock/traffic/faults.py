"""Faults: the failures and delays that a test has asked for.

A team has an ordered list of rules. The first one that matches a request, and is neither spent nor healed, decides
about it; the request's own `Prefer` header comes before them all. Which request of a rule fails is a matter of its
count alone, so that a seed gives the same failures every time.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from pydantic import JsonValue

from cstar_mock.contract import errors
from cstar_mock.contract.clock import Instant
from cstar_mock.contract.errors import CATALOGUE, ApiError, ErrorKind
from cstar_mock.traffic.fault_rules import ActiveRule, ConnectionFault, FaultRequest, random_of

DEFAULT_RETRY_AFTER = 1
"""Seconds in `Retry-After` where a rule does not say: short, as a test waits for it."""


class ConnectionBroken(ConnectionError):
    """Raised to break the request's connection; `http.middleware` passes it to the connection."""

    def __init__(self, fault: ConnectionFault) -> None:
        self.fault = fault
        super().__init__(f"the connection is broken on purpose: {fault.value}")


@dataclass(frozen=True, slots=True)
class Taken:
    """The rule that decides about a request, the request's number, counted from 0, and whether it fails."""

    active: ActiveRule
    number: int
    fails: bool


class FaultCounts(Protocol):
    """The number of requests that each rule has decided about, and of those that failed.

    Each method raises StateUnavailable if the counts are shared and can't be reached.
    """

    async def take(self, team_id: str, candidates: Sequence[ActiveRule]) -> Taken | None:
        """Let the first rule that is not spent decide about one more request; None if all are spent."""

    async def counts(self, team_id: str) -> Mapping[str, tuple[int, int]]:
        """Return how many requests each rule of a team has decided about, and how many failed, if it has any."""

    async def forget(self, team_id: str, rule_id: str | None = None) -> None:
        """Forget the counts of a team's rules, or of one of them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about one request: a delay, and then perhaps a failure.

    Attributes:
        rule_id: the rule that decided; None for the request's own `Prefer`.
        retry_after: seconds in `Retry-After`, None for no such header; the default depends on the status.
    """

    rule_id: str | None = None
    delay_ms: float = 0
    status: int | str | None = None
    body: JsonValue = None
    retry_after: float | Literal["default"] | None = "default"
    fault: ConnectionFault | None = None

    def fail(self) -> None:
        """Fail if the request is to fail.

        Raises:
            ApiError: the documented error that was asked for.
            CannedAnswer: the status and body that were asked for.
            ConnectionBroken: the connection is to be broken.
        """
        if self.fault is not None:
            raise ConnectionBroken(self.fault)
        if self.status is not None:
            raise self._answer(self.status)

    def _answer(self, status: int | str) -> Exception:
        kind = CATALOGUE[status] if isinstance(status, str) else _BY_STATUS.get(status)
        number = kind.status if kind is not None else int(status)
        headers = {}
        seconds = self.retry_after
        if seconds == "default":
            seconds = DEFAULT_RETRY_AFTER if number in {429, 503} else None
        if seconds is not None:
            headers["Retry-After"] = f"{Decimal(repr(seconds)):f}".removesuffix(".0")
        if kind is None or self.body is not None:
            return CannedAnswer(number, self.body, headers)
        if kind is errors.AUTHENTICATION_REQUIRED:
            headers["WWW-Authenticate"] = "Bearer"
        if kind is errors.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET"
        return ApiError(kind, headers=headers, **errors.example_particulars(kind, self.whole_seconds()))

    def whole_seconds(self) -> int:
        """Return the seconds that the message and the other headers say: at least 1."""
        seconds = DEFAULT_RETRY_AFTER if self.retry_after in {"default", None} else self.retry_after
        return max(1, math.ceil(float(seconds or 0)))


class CannedAnswer(Exception):
    """A response outside the catalogue: any status, any body."""

    def __init__(self, status: int, body: JsonValue, headers: Mapping[str, str]) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        super().__init__(f"status {status}, as a test asked for")


# Of the two errors with status 403 the documented one; request_malformed is nothing that a handler answers.
_BY_STATUS: dict[int, ErrorKind] = {
    kind.status: kind
    for kind in CATALOGUE.values()
    if kind not in (errors.TEAM_ACCESS_DENIED, errors.REQUEST_MALFORMED)
}


async def decide(
    rules: Iterable[ActiveRule], request: FaultRequest, team_id: str, counts: FaultCounts, now: Instant
) -> Decision | None:
    """Return the decision of the team's rules about a request, and count it.

    Args:
        rules: the team's rules that may be about the request's key, in their order.
        request: what the rules look at.
        team_id: whose counts.
        counts: the counts.
        now: real time plus the team's advances, which rules heal by.

    Raises:
        StateUnavailable: the counts are shared, and can't be reached.
    """
    candidates = [active for active in rules if active.rule.matches(request) and not active.healed(now)]
    taken = await counts.take(team_id, candidates) if candidates else None
    if taken is None or not taken.fails:
        return None
    rule = taken.active.rule
    delay = 0.0 if rule.delay is None else rule.delay.draw(random_of(rule.seed, -1 - taken.number))
    retry_after: float | Literal["default"] | None = "default"
    if "retry_after" in rule.model_fields_set:
        retry_after = rule.retry_after
    return Decision(taken.active.id, delay, rule.status, rule.body, retry_after, rule.fault)
