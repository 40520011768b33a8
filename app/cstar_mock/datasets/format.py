"""The format of data sets: models and JSON Schema.

A file is YAML. Times are ISO 8601, or relative to the team's clock: `now`, `-3d`, `-1h30m`. An environment
holds explicit rows, recipes, or answers (see `answers` and `generate`).
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel

from cstar_mock import bounds
from cstar_mock.contract import clock
from cstar_mock.contract.json_types import WHOLE, Exact, Flag, Number, Text
from cstar_mock.contract.periods import DEFAULT, Period
from cstar_mock.contract.vocabulary import KEY_PREFIXES, TicketStatus
from cstar_mock.datasets.problems import DatasetError, Problem, problems_of
from cstar_mock.traffic.fault_rules import FaultRule

SCHEMA_ID = "https://cstar-mock.example/dataset.schema.json"


_Time = Annotated[Text, Field(max_length=bounds.LONGEST_TIME)]


def _checked(parse: Any) -> AfterValidator:
    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


Moment = Annotated[
    _Time,
    _checked(lambda text: clock.parse_moment(text, clock.DAY * 20_000)),
    Field(
        description="ISO 8601 with an offset, `now`, or relative to the team's clock: `-3d`, `-1h30m`.",
        json_schema_extra={
            "anyOf": [
                {"const": "now"},
                {"pattern": r"^[+-]([0-9]{1,3}[smhdw])+$"},
                {"format": "date-time"},
            ]
        },
    ),
]
Fixed = Annotated[
    _Time,
    _checked(clock.parse_clock),
    Field(description="ISO 8601 with an offset: 2025-12-10T14:30:00Z.", json_schema_extra={"format": "date-time"}),
]
Length = Annotated[
    _Time,
    _checked(clock.parse_length),
    Field(
        description="A length of time: `90s`, `1h30m`, `7d`.",
        json_schema_extra={"pattern": "^([0-9]{1,9}[smhdw])+$"},
    ),
]
Id = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Name = Annotated[Text, Field(min_length=1, max_length=200)]
Slug = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Count = Annotated[int, Field(ge=0, le=bounds.MOST_RECIPE_ROWS), WHOLE]
Figure = Annotated[int, Field(ge=0, le=bounds.MOST_FIGURE), WHOLE]
Share = Annotated[Number, Field(ge=0, le=1)]


Score = Annotated[Exact, WithJsonSchema({"type": "number", "minimum": 1, "maximum": 5}), Field(ge=1, le=5)]
Minutes = Annotated[
    Exact,
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": bounds.LONGEST_RESPONSE_MINUTES}),
    Field(ge=0, le=bounds.LONGEST_RESPONSE_MINUTES),
]


ZeroMean = Annotated[Literal[0], BeforeValidator(lambda value: None if isinstance(value, bool | str) else value)]
"""The value of a mean over nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, frozen=True
    )


class MemberRow(_Part):
    """A team member, an agent of the statistics."""

    id: Id | None = None
    name: Name
    created_at: Moment = "-365d"
    removed_at: Moment | None = None


class CustomerRow(_Part):
    """A person who creates tickets."""

    id: Id | None = None
    name: Name = "Customer"
    created_at: Moment = "-365d"


class TicketRow(_Part):
    """A request of a customer."""

    id: Id | None = None
    customer_id: Id
    assignee_id: Id | None = None
    status: TicketStatus
    created_at: Moment
    first_response_at: Moment | None = None
    resolved_at: Moment | None = None


class CsatResponseRow(_Part):
    """A customer's score for one ticket."""

    id: Id | None = None
    ticket_id: Id
    score: Annotated[int, Field(ge=1, le=5), WHOLE]
    submitted_at: Moment


class Spread(_Part):
    """Lengths of time between two bounds, short ones likelier than long ones."""

    from_: Annotated[Length, Field(alias="from")]
    to: Length

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < clock.parse_length(self.from_) <= clock.parse_length(self.to):
            raise ValueError("'from' must be longer than nothing and not longer than 'to'")
        return self


class Recipe(_Part):
    """Rows made from a seed: a desk that answers and resolves tickets as they come.

    The same recipe makes the same rows, relative to the team's clock, on every machine.
    """

    seed: Annotated[int, Field(ge=-bounds.LARGEST_SEED, le=bounds.LARGEST_SEED), WHOLE] = 1
    tickets: Count
    customers: Annotated[int, Field(ge=1, le=bounds.MOST_RECIPE_ROWS), WHOLE] | None = Field(
        None, description="By default one for three tickets."
    )
    members: Annotated[int, Field(ge=0, le=10_000), WHOLE] | Annotated[tuple[Name, ...], Field(max_length=10_000)] = (
        Field(5, description="How many, or their names.")
    )
    since: Moment = "-90d"
    until: Moment = "now"
    rhythm: Literal["even", "office"] = Field(
        "office", description="`office`: busy on weekdays from 8 to 18 UTC, quiet at night and on weekends."
    )
    status: TicketStatus | None = Field(
        None, description="The status of every ticket; by default it follows from the times."
    )
    answered: Share = Field(0.97, description="Share of the tickets that get a first response.")
    first_response: Spread = Spread.model_validate({"from": "2m", "to": "8h"})
    resolved: Share = Field(0.93, description="Share of the answered tickets that get resolved.")
    resolution: Spread = Spread.model_validate({"from": "20m", "to": "9d"})
    scored: Share = Field(0.4, description="Share of the resolved tickets that get a CSAT response.")
    scores: tuple[Share, ...] = Field(
        (0.03, 0.05, 0.12, 0.3, 0.5),
        min_length=5,
        max_length=5,
        description="How likely the scores 1 to 5 are, relative to each other.",
    )

    @model_validator(mode="after")
    def _some_score_is_possible(self) -> Self:
        if not sum(self.scores):
            raise ValueError("'scores' can't all be 0")
        return self


class TicketFigures(_Part):
    """The wanted `tickets`; a figure that is left out may have any value."""

    total: Figure | None = None
    open: Figure | None = None
    resolved: Figure | None = None


class CustomerFigures(_Part):
    """The wanted `customers`; a figure that is left out may have any value."""

    total: Figure | None = None
    active: Figure | None = None
    new: Figure | None = None


class CsatFigures(_Part):
    """The wanted `csat`; a figure that is left out may have any value."""

    average: Score | ZeroMean | None = None
    total_responses: Figure | None = None


class OverviewFigures(_Part):
    """The wanted overview of one period, in its documented shape."""

    object: Literal["analytics_overview"] = "analytics_overview"
    period: Period = DEFAULT
    tickets: TicketFigures = TicketFigures()
    customers: CustomerFigures = CustomerFigures()
    csat: CsatFigures = CsatFigures()


class AgentFigures(_Part):
    """The wanted statistics of one agent, in their documented shape."""

    object: Literal["agent_stats"] = "agent_stats"
    user_id: Id | None = None
    name: Name
    tickets_resolved: Figure = 0
    avg_response_time: Minutes | None = None
    csat_average: Score | None = None


class Answers(_Part):
    """The figures that the API must give; ordinary rows are built that produce exactly these."""

    overview: OverviewFigures | None = None
    agents: Annotated[tuple[AgentFigures, ...], Field(max_length=bounds.MOST_AGENTS)] | None = None


class EnvironmentData(_Part):
    """The rows of one environment: explicit, from recipes, or built to give answers."""

    answers: Answers | None = None
    recipes: tuple[Recipe, ...] = ()
    members: tuple[MemberRow, ...] = ()
    customers: tuple[CustomerRow, ...] = ()
    tickets: tuple[TicketRow, ...] = ()
    csat_responses: tuple[CsatResponseRow, ...] = ()

    @model_validator(mode="after")
    def _answers_stand_alone(self) -> Self:
        others = self.model_fields_set - {"answers"}
        if self.answers is not None and others:
            names = ", ".join(sorted(to_camel(name) for name in others))
            raise ValueError(f"answers exclude other rows, which would change the figures; remove {names}")
        return self


def _right_prefix(key: str, info: Any) -> str:
    prefix = info.field_name
    if not key.startswith(f"{prefix}_"):
        raise ValueError(f"the key must begin with {prefix}_")
    return key


Key = Annotated[str, Field(min_length=9, max_length=200, pattern=r"^[A-Za-z0-9_-]+$"), AfterValidator(_right_prefix)]


class Keys(BaseModel):
    """The team's keys; those left out are made at random and shown once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sk_live: Key | None = None
    sk_test: Key | None = None
    pk_live: Key | None = None
    pk_test: Key | None = None


assert set(Keys.model_fields) == set(KEY_PREFIXES)  # noqa: S101  (two lists of the same four prefixes)


class MagicKey(_Part):
    """A further key of the team, for answers that a valid key does not get."""

    key: Annotated[str, Field(min_length=9, max_length=200, pattern=r"^[sp]k_(live|test)_[A-Za-z0-9_-]+$")]
    expires_at: Moment | None = None
    revoked: Flag = False
    rate_limit: Annotated[int, Field(ge=1, le=bounds.LARGEST_RATE_LIMIT), WHOLE] | None = Field(
        None, description="Its own limit, in requests a window."
    )


class TeamRateLimits(_Part):
    """A team's own rate limits; omitted fields are as for every team."""

    enabled: Flag = True
    secret: Annotated[int, Field(ge=1, le=bounds.LARGEST_RATE_LIMIT), WHOLE] | None = Field(
        None, description="For each secret key."
    )
    publishable: Annotated[int, Field(ge=1, le=bounds.LARGEST_RATE_LIMIT), WHOLE] | None = Field(
        None, description="For each publishable key."
    )
    window: Annotated[int, Field(ge=1, le=31_536_000), WHOLE] | None = Field(None, description="Seconds.")


class TeamContent(_Part):
    """The content of a team: its clock, its rules and the rows of its two environments."""

    clock: Fixed | None = Field(
        None, description="The instant at which the team's clock is frozen; by default it runs."
    )
    rate_limits: TeamRateLimits | None = None
    faults: tuple[FaultRule, ...] = ()
    live: EnvironmentData = EnvironmentData()
    test: EnvironmentData = EnvironmentData()

    @classmethod
    def from_origin(cls, origin: dict[str, Any]) -> "TeamContent":
        """Return the content that `TeamData.origin` kept."""
        kept = {"clock", "rateLimits", "faults", "live", "test"}
        return cls.model_validate({name: value for name, value in origin.items() if name in kept})


class TeamData(TeamContent):
    """A team: its name, its keys and its content."""

    slug: Slug
    name: Name | None = None
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")] | None = Field(
        None, description="The team's UUID; by default it follows from the slug."
    )
    keys: Keys = Keys()
    magic_keys: dict[Slug, MagicKey] = {}

    def given_keys(self) -> dict[str, str | None]:
        """Return the keys that the content names, by prefix, in the order in which they are always shown."""
        return {prefix: getattr(self.keys, prefix) for prefix in KEY_PREFIXES}

    def origin(self) -> dict[str, Any]:
        """Return the stored form of this content: it identifies the content, and a reset returns to it.

        The file's layout and comments make no difference, and of the keys only a digest is kept.
        """
        dumped = self.model_dump(mode="json", exclude_unset=True, by_alias=True)
        keys = json.dumps([dumped.pop("keys", None), dumped.pop("magicKeys", None)], sort_keys=True)
        return {**dumped, "keysDigest": hashlib.sha256(keys.encode()).hexdigest()}


class Dataset(_Part):
    """A data set: one file, one or more teams."""

    dataset: Slug
    description: Text = ""
    teams: Annotated[tuple[TeamData, ...], Field(min_length=1)]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a data set file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **Dataset.model_json_schema(by_alias=True),
    }


def parse(content: object) -> Dataset:
    """Check the content of a data set file.

    Raises:
        DatasetError: naming the field of the first problem, and how many there are.
    """
    if not isinstance(content, dict):
        raise DatasetError([Problem((), "a data set is a mapping with the keys 'dataset' and 'teams'")])
    try:
        dataset = Dataset.model_validate(content)
    except ValidationError as error:
        raise DatasetError(problems_of(error.errors())) from None
    if repeated := list(_repeated_slugs(dataset)):
        raise DatasetError(repeated)
    return dataset


def _repeated_slugs(dataset: Dataset) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, team in enumerate(dataset.teams):
        if team.slug in seen:
            yield Problem(("teams", index, "slug"), f"the slug {team.slug!r} is repeated")
        seen.add(team.slug)
