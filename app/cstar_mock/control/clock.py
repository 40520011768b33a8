"""The team's clock: stop it, move it, let it run."""

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.contract import clock
from cstar_mock.contract.clock import SECOND, TeamClock, parse_clock, parse_iso_duration
from cstar_mock.contract.json_types import Text
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, Body, Owned, TeamName
from cstar_mock.control.problems import Conflict, described
from cstar_mock.datasets.format import Fixed
from cstar_mock.teams import teams

router = APIRouter(tags=["Clock"], route_class=ControlRoute)


def _a_duration(text: str) -> str:
    parse_iso_duration(text)
    return text


IsoDuration = Annotated[
    Text,
    Field(
        max_length=bounds.LONGEST_TIME,
        json_schema_extra={"pattern": r"^P(?!$)(\d{1,5}W|(\d{1,6}D)?(T(?!$)(\d{1,6}H)?(\d{1,7}M)?(\d{1,9}S)?)?)$"},
    ),
    AfterValidator(_a_duration),
]


class Freeze(Body):
    """Stop the clock at an instant, by default at its present one."""

    action: Literal["freeze"]
    instant: Fixed | None = None


class Advance(Body):
    """Move the clock ahead; rate-limit windows and healing fault rules move along."""

    action: Literal["advance"]
    by: IsoDuration = Field(description="An ISO 8601 duration: `PT1H`, `P7D`.")


class Reset(Body):
    """Return the clock to real time."""

    action: Literal["reset"]


class Clock(Answer):
    """A team's clock."""

    now: str = Field(description="The team's present instant.")
    frozen: bool
    offset_seconds: float = Field(description="What a running clock is ahead of real time.")
    advanced_seconds: float = Field(description="The sum of all advances, which rate-limit windows follow.")


@router.get("/teams/{team}/clock", operation_id="getClock", responses=described(HTTPStatus.NOT_FOUND))
async def get(owned: Owned, team: TeamName) -> Clock:
    """Read a team's clock."""
    return _shown((await owned.database.read(teams.get, team)).clock)


@router.put(
    "/teams/{team}/clock",
    operation_id="setClock",
    responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def put(
    owned: Owned, team: TeamName, body: Annotated[Freeze | Advance | Reset, Field(discriminator="action")]
) -> Clock:
    """Stop, move or release a team's clock. Periods, timestamps and key expiry follow it."""
    return _shown(await owned.database.write(_act, team, body))


def _act(connection: Connection, team: str, body: Freeze | Advance | Reset) -> TeamClock:
    if isinstance(body, Freeze):
        return teams.freeze(connection, team, None if body.instant is None else parse_clock(body.instant))
    if isinstance(body, Reset):
        return teams.run_in_real_time(connection, team)
    try:
        return teams.advance(connection, team, parse_iso_duration(body.by))
    except ValueError as error:
        raise Conflict(f"by: {error}", [("by", str(error))]) from None


def _shown(team_clock: TeamClock) -> Clock:
    return Clock(
        now=clock.iso_exact(team_clock.now()),
        frozen=team_clock.frozen_at is not None,
        offset_seconds=team_clock.offset / SECOND,
        advanced_seconds=team_clock.advanced / SECOND,
    )
