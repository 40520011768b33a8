"""Fault rules: an ordered list; the first one that matches decides."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.contract import clock
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, NamedId, Owned, TeamName
from cstar_mock.control.problems import Conflict, described
from cstar_mock.services import Services
from cstar_mock.teams import teams
from cstar_mock.teams.teams import TeamState
from cstar_mock.traffic.fault_rules import ActiveRule, FaultRule

router = APIRouter(tags=["Faults"], route_class=ControlRoute)

Rules = FaultRule | Annotated[list[FaultRule], Field(max_length=bounds.MOST_FAULT_RULES)]


class ShownRule(Answer):
    """A rule and its counts."""

    id: str
    rule: FaultRule
    seen: int = Field(description="Requests that it has decided about.")
    failed: int = Field(description="How many of them it let fail, or wait.")
    heals_at: str | None = Field(description="When it heals itself, on real time plus the team's advances.")


class RuleList(Answer):
    """A team's rules, in their order."""

    faults: list[ShownRule]


@router.get(
    "/teams/{team}/faults",
    operation_id="listFaults",
    response_model_exclude_unset=True,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def list_(owned: Owned, team: TeamName) -> RuleList:
    """List a team's rules with their counts."""
    state = await owned.database.read(teams.get, team)
    return await _shown(owned, state.id, state.faults)


@router.put(
    "/teams/{team}/faults",
    operation_id="setFaults",
    response_model_exclude_unset=True,
    responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def put(owned: Owned, team: TeamName, body: Rules) -> RuleList:
    """Replace the team's rules with these; their counts start at 0."""
    state, rules = await owned.database.write(_set, team, body, keep=False)
    await owned.state.fault_counts.forget(state.id)
    return await _shown(owned, state.id, rules)


@router.post(
    "/teams/{team}/faults",
    status_code=201,
    operation_id="addFaults",
    response_model_exclude_unset=True,
    responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
async def post(owned: Owned, team: TeamName, body: Rules) -> RuleList:
    """Add rules after the present ones."""
    state, rules = await owned.database.write(_set, team, body, keep=True)
    return await _shown(owned, state.id, rules)


@router.delete(
    "/teams/{team}/faults",
    status_code=204,
    operation_id="deleteFaults",
    responses=described(HTTPStatus.NOT_FOUND),
)
async def delete_all(owned: Owned, team: TeamName) -> Response:
    """Remove all rules."""
    state, _ = await owned.database.write(_set, team, [], keep=False)
    await owned.state.fault_counts.forget(state.id)
    return Response(status_code=204)


@router.delete(
    "/teams/{team}/faults/{id}",
    status_code=204,
    operation_id="deleteFault",
    responses=described(HTTPStatus.NOT_FOUND),
)
async def delete(owned: Owned, team: TeamName, id: NamedId) -> Response:  # noqa: A002
    """Remove one rule."""
    state = await owned.database.write(teams.remove_fault, team, id)
    await owned.state.fault_counts.forget(state.id, id)
    return Response(status_code=204)


def _set(connection: Connection, team: str, body: Rules, *, keep: bool) -> tuple[TeamState, tuple[ActiveRule, ...]]:
    rules = body if isinstance(body, list) else [body]
    try:
        return teams.set_faults(connection, team, rules, keep=keep)
    except ValueError as error:
        raise Conflict(str(error)) from None


async def _shown(owned: Services, team_id: str, rules: tuple[ActiveRule, ...]) -> RuleList:
    counts = await owned.state.fault_counts.counts(team_id)
    return RuleList(
        faults=[
            ShownRule(
                id=active.id,
                rule=active.rule,
                seen=seen,
                failed=failed,
                heals_at=None if active.ends_at is None else clock.iso_exact(active.ends_at),
            )
            for active in rules
            for seen, failed in (counts.get(active.id, (0, 0)),)
        ]
    )
