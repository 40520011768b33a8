"""Fault rules: their form, their storage, and the choice of requests that fail.

Which request of a rule fails follows from its seed and the number of the request alone, so that a seed gives the same
failures every time.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import to_json

from cstar_mock import bounds
from cstar_mock.contract import clock, ids
from cstar_mock.contract.clock import Instant
from cstar_mock.contract.errors import CATALOGUE
from cstar_mock.contract.json_types import WHOLE, Json, Number, Text
from cstar_mock.contract.periods import Period
from cstar_mock.contract.vocabulary import Endpoint, Environment, KeyType


class ConnectionFault(StrEnum):
    """The faults of a connection; WireMock's names."""

    CONNECTION_RESET_BY_PEER = "CONNECTION_RESET_BY_PEER"
    EMPTY_RESPONSE = "EMPTY_RESPONSE"
    MALFORMED_RESPONSE_CHUNK = "MALFORMED_RESPONSE_CHUNK"
    RANDOM_DATA_THEN_CLOSE = "RANDOM_DATA_THEN_CLOSE"


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, frozen=True
    )


Milliseconds = Annotated[Number, Field(ge=0, le=bounds.LONGEST_DELAY_MS)]


class FixedDelay(_Part):
    """Always the same."""

    type: Literal["fixed"]
    milliseconds: Milliseconds

    def draw(self, _random: random.Random) -> float:
        """Return the delay in milliseconds."""
        return self.milliseconds


class UniformDelay(_Part):
    """Anything between two bounds, equally likely."""

    type: Literal["uniform"]
    lower: Milliseconds
    upper: Milliseconds

    def draw(self, random_: random.Random) -> float:
        """Return a delay in milliseconds."""
        return random_.uniform(self.lower, self.upper)


class LognormalDelay(_Part):
    """Mostly around the median, sometimes far above, as in networks; cut off at `maxValue`."""

    type: Literal["lognormal"]
    median: Annotated[Number, Field(gt=0, le=bounds.LONGEST_DELAY_MS)]
    sigma: Annotated[Number, Field(ge=0, le=10)]
    max_value: Milliseconds = bounds.LONGEST_DELAY_MS

    def draw(self, random_: random.Random) -> float:
        """Return a delay in milliseconds."""
        return min(self.max_value, self.median * random_.lognormvariate(0, self.sigma))


Delay = Annotated[FixedDelay | UniformDelay | LognormalDelay, Field(discriminator="type")]


class Match(_Part):
    """The requests that a rule matches; omitted fields match every request."""

    endpoint: Endpoint | None = None
    key_type: KeyType | None = None
    environment: Environment | None = None
    period: Period | None = Field(None, description="The period asked for; an overview without one asks for week.")
    key: Annotated[Text, Field(max_length=100)] | None = Field(None, description="The name of one key.")


_BODILESS = {204, 205, 304}
_ERROR_NAMES = tuple(CATALOGUE)


def _known_name(value: object) -> object:
    """Refuse an unknown name here: the union below would only say that it is not a number."""
    if isinstance(value, str) and value not in _ERROR_NAMES:
        raise ValueError(f"use a status from 200 to 599, or one of {', '.join(_ERROR_NAMES)}")
    return value


Status = Annotated[
    Annotated[int, Field(ge=200, le=599), WHOLE] | Literal[_ERROR_NAMES],  # type: ignore[valid-type]
    BeforeValidator(_known_name),
]


def _seconds(value: object) -> object:
    if isinstance(value, str):
        try:
            return clock.parse_iso_duration(value) / clock.SECOND
        except ValueError as error:
            raise ValueError(str(error)) from None
    return value


Seconds = (
    Annotated[float, Field(gt=0, le=31_536_000)]
    | Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^PT[1-9][0-9]{0,6}S$"})]
)
"""The forms of a time to live; other ISO 8601 durations are allowed as well."""


TimeToLive = Annotated[Number, Field(gt=0, le=31_536_000), BeforeValidator(_seconds, json_schema_input_type=Seconds)]


RetryAfter = Annotated[
    Number,
    Field(ge=0, le=86_400),
    PlainSerializer(lambda seconds: int(seconds) if seconds.is_integer() else seconds, return_type=int | float),
]


@dataclass(frozen=True, slots=True)
class FaultRequest:
    """The facts of a request that rules match, besides its key."""

    endpoint: str
    period: str | None


class FaultRule(_Part):
    """One rule: the requests it matches, its effect, and how many it fails."""

    id: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")] | None = None
    match: Match = Match()
    status: Status | None = Field(None, description="A documented error by its name, or any status.")
    body: Json = Field(None, description="The body to answer with; by default the documented one of the status.")
    retry_after: RetryAfter | None = Field(
        None, description="Seconds in `Retry-After`, also 0 or 0.5; null for none. By default 1 on 429 and 503."
    )
    delay: Delay | None = Field(None, description="The delay before anything else happens.")
    fault: ConnectionFault | None = Field(None, description="The fault of the connection.")
    probability: Annotated[Number, Field(ge=0, le=1)] = 1
    seed: Annotated[int, Field(ge=-bounds.LARGEST_SEED, le=bounds.LARGEST_SEED), WHOLE] = Field(
        0, description="What decides which requests fail, and how long delays are."
    )
    succeed_first: Annotated[int, Field(ge=0, le=bounds.LARGEST_INTEGER), WHOLE] = Field(
        0, description="How many matching requests pass at first."
    )
    fail_request_count: Annotated[int, Field(ge=1, le=bounds.LARGEST_INTEGER), WHOLE] | None = Field(
        None, description="How many requests fail before the rule is spent."
    )
    time_to_live: TimeToLive | None = Field(
        None, description="Seconds, or an ISO 8601 duration such as `PT30S`, after which the rule ends."
    )

    @model_validator(mode="after")
    def _does_something_possible(self) -> Self:
        if self.status is None and self.fault is None and self.delay is None:
            raise ValueError("a rule needs a status, a fault or a delay")
        if self.status is not None and self.fault is not None:
            raise ValueError("a rule has either a status or a fault: a broken connection has no status")
        if self.body is not None and (self.status is None or self.status in _BODILESS):
            raise ValueError("a body needs a status that may have one")
        return self

    def matches(self, request: FaultRequest) -> bool:
        """Whether the rule is about this request, if it is about its key."""
        match = self.match
        return (match.endpoint is None or match.endpoint == request.endpoint) and (
            match.period is None or match.period == request.period
        )

    def matches_key(self, key_type: str, environment: str, name: str | None) -> bool:
        """Whether the rule may be about requests with a key, given by its type, environment and name."""
        match = self.match
        return (
            (match.key_type is None or match.key_type == key_type)
            and (match.environment is None or match.environment == environment)
            and (match.key is None or match.key == name)
        )


_CLOCKS_DIFFER = clock.MINUTE
"""By how much the clocks of two hosts with one database may differ."""


@dataclass(frozen=True, slots=True)
class ActiveRule:
    """A rule as the team stores it.

    Attributes:
        ends_at: when it heals itself, on real time plus the team's advances; None for never.
    """

    id: str
    rule: FaultRule
    ends_at: Instant | None = None

    def healed(self, now: Instant) -> bool:
        """Whether the rule has ended: its end has passed, or the clock went back behind its beginning."""
        if self.ends_at is None or self.rule.time_to_live is None:
            return False
        left = self.ends_at - now
        return left <= 0 or left > self.rule.time_to_live * clock.SECOND + _CLOCKS_DIFFER


def fails(rule: FaultRule, number: int) -> bool:
    """Whether a rule lets its n-th request fail, counted from 0: the same answer every time."""
    return number >= rule.succeed_first and (rule.probability >= 1 or drawn(rule.seed, rule.probability, number))


def drawn(seed: int, probability: float, number: int) -> bool:
    """Whether chance picks the n-th request of a rule: the same answer every time."""
    return random_of(seed, number).random() < probability


def random_of(seed: int, number: int) -> random.Random:
    """Return the source of chance for one request of a rule."""
    return random.Random(f"{seed}/{number}")  # noqa: S311  (not for secrets)


def activated(rules: Iterable[FaultRule], now: Instant) -> list[ActiveRule]:
    """Return rules with their ids and the instants at which they end."""
    return [
        ActiveRule(
            rule.id or ids.new("fault"),
            rule,
            None if rule.time_to_live is None else now + int(rule.time_to_live * clock.SECOND),
        )
        for rule in rules
    ]


def check_bounds(rules: Sequence[ActiveRule]) -> None:
    """Check how many rules a team gets, and how large they are.

    Raises:
        ValueError: they are too many, or too large together, or a body is too long.
    """
    if len(rules) > bounds.MOST_FAULT_RULES:
        raise ValueError(f"a team has {bounds.MOST_FAULT_RULES} fault rules at most")
    for active in rules:
        if len(to_json(active.rule.body)) > bounds.LONGEST_FAULT_BODY:
            raise ValueError(
                f"the body of the rule {active.id!r} is too long: it takes at most {bounds.LONGEST_FAULT_BODY:,} bytes"
            )
    size = len(to_json(stored(rules)))
    if size > bounds.FAULT_RULES_BYTES:
        raise ValueError(
            f"the fault rules of a team take at most {bounds.FAULT_RULES_BYTES:,} bytes together; these take {size:,}"
        )


def stored(rules: Iterable[ActiveRule]) -> list[dict[str, Any]]:
    """Return the stored form of rules."""
    return [
        {
            "id": active.id,
            "endsAt": active.ends_at,
            "rule": active.rule.model_dump(mode="json", by_alias=True, exclude_unset=True),
        }
        for active in rules
    ]


def from_store(rules: Iterable[Mapping[str, Any]]) -> tuple[ActiveRule, ...]:
    """Return rules from their stored form."""
    return tuple(ActiveRule(rule["id"], FaultRule.model_validate(rule["rule"]), rule["endsAt"]) for rule in rules)
