"""A team's rate limits and their counters."""

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import Connection

from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, Owned, TeamName
from cstar_mock.control.problems import described
from cstar_mock.datasets.format import TeamRateLimits
from cstar_mock.services import Services
from cstar_mock.teams import teams
from cstar_mock.teams.teams import TeamState

router = APIRouter(tags=["Rate limits"], route_class=ControlRoute)


class RateLimits(Answer):
    """The limits that hold for a team's keys, unless a key has its own."""

    enabled: bool
    secret: int = Field(description="Requests a window for each secret key.")
    publishable: int = Field(description="Requests a window for each publishable key.")
    window: int = Field(description="Length of a window in seconds.")


@router.get("/teams/{team}/rate-limits", operation_id="getRateLimits", responses=described(HTTPStatus.NOT_FOUND))
async def get(owned: Owned, team: TeamName) -> RateLimits:
    """Read a team's limits."""
    return _shown(owned, await owned.database.read(teams.get, team))


@router.put("/teams/{team}/rate-limits", operation_id="setRateLimits", responses=described(HTTPStatus.NOT_FOUND))
async def put(owned: Owned, team: TeamName, body: TeamRateLimits) -> RateLimits:
    """Set a team's limits; what is left out is as for every team. Another length begins new windows."""
    old, new, key_ids = await owned.database.write(_set, team, body.model_dump(exclude_none=True))
    before, after = _shown(owned, old), _shown(owned, new)
    if after.window != before.window:
        await owned.rate_limiter.forget(key_ids)
    return after


@router.delete(
    "/teams/{team}/rate-limits/counters",
    status_code=204,
    operation_id="resetRateLimitCounters",
    responses=described(HTTPStatus.NOT_FOUND),
)
async def delete_counters(owned: Owned, team: TeamName) -> Response:
    """Begin new windows for all of a team's keys."""
    state = await owned.database.read(teams.get, team)
    await owned.rate_limiter.forget(await owned.database.read(teams.key_ids, state.id))
    return Response(status_code=204)


def _set(connection: Connection, team: str, limits: dict[str, Any]) -> tuple[TeamState, TeamState, list[str]]:
    """Set a team's limits; return the team before and after, and the ids of its keys."""
    before = teams.lock(connection, team)
    teams.set_rate_limits(connection, before.id, limits)
    return before, replace(before, rate_limits=limits), teams.key_ids(connection, before.id)


def _shown(owned: Services, state: TeamState) -> RateLimits:
    settings, own = owned.settings, state.rate_limits or {}
    return RateLimits(
        enabled=settings.rate_limits and own.get("enabled", True),
        secret=own.get("secret") or settings.secret_rate_limit,
        publishable=own.get("publishable") or settings.publishable_rate_limit,
        window=own.get("window") or settings.rate_limit_window,
    )
