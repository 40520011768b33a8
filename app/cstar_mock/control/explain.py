"""Where the figures come from."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.analytics import explain
from cstar_mock.analytics.explain import Explanation
from cstar_mock.contract import clock, periods
from cstar_mock.contract.periods import Period
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, InEnvironment, Owned, TeamName
from cstar_mock.control.problems import described
from cstar_mock.store.models import Scope
from cstar_mock.teams import teams

router = APIRouter(tags=["Explain"], route_class=ControlRoute)

Limit = Annotated[int, Query(ge=1, le=bounds.MOST_EXPLAINED_IDS, description="The most ids of each figure.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="Agents to leave out, in the order of the agents endpoint.")]


class ExplainedFigure(Answer):
    """A figure, and the rows behind it."""

    figure: str
    value: float | None
    definition: str
    source: str = Field(description="Who says so: documented, from cStar's site, or ours.")
    sql: str
    parameters: dict[str, str | int] = Field(description="Instants are microseconds since 1970.")
    total: int = Field(
        description="The number of rows: as many as the figure says, or those whose values have it as their mean."
    )
    ids: list[str] = Field(description="The ids of the first rows, at most `limit`.")
    values: list[float] | None = Field(description="For a mean: what is averaged, for each of the ids.")


class ExplainedOverview(Answer):
    """Every figure of an overview."""

    environment: Environment
    period: Period
    after: str = Field(description="The window begins after this instant …")
    until: str = Field(description="… and ends with this one, the team's now.")
    figures: list[ExplainedFigure]


class ExplainedAgent(Answer):
    """Every figure of one agent."""

    user_id: str
    figures: list[ExplainedFigure]


class ExplainedAgents(Answer):
    """Every figure of the agents, in the order of the agents endpoint."""

    environment: Environment
    until: str = Field(description="The team's now.")
    total: int = Field(description="The number of all agents; `offset` leads to those that are not listed.")
    agents: list[ExplainedAgent]


@router.get(
    "/teams/{team}/explain/overview",
    operation_id="explainOverview",
    response_model=ExplainedOverview,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def explain_overview(
    owned: Owned,
    team: TeamName,
    period: Period = periods.DEFAULT,
    environment: InEnvironment = Environment.TEST,
    limit: Limit = 1000,
) -> Response:
    """Explain every figure of the overview of a period."""
    mean_of_nothing = owned.settings.mean_of_nothing
    return _json(await owned.database.read_snapshot(_overview, team, period, environment, limit, mean_of_nothing))


@router.get(
    "/teams/{team}/explain/agents",
    operation_id="explainAgents",
    response_model=ExplainedAgents,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def explain_agents(
    owned: Owned,
    team: TeamName,
    environment: InEnvironment = Environment.TEST,
    limit: Limit = 1000,
    offset: Offset = 0,
) -> Response:
    """Explain every figure of the agents."""
    mean_of_nothing = owned.settings.mean_of_nothing
    return _json(await owned.database.read_snapshot(_agents, team, environment, limit, offset, mean_of_nothing))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


# There may be a hundred thousand ids: the answer is written where the rows are read, not on the event loop.


def _overview(
    connection: Connection,
    team: str,
    period: Period,
    environment: Environment,
    limit: int,
    mean_of_nothing: float | None,
) -> bytes:
    state = teams.get(connection, team)
    window = periods.window(period, state.clock.now())
    scope = Scope(state.id, environment.value)
    explained = explain.explain_overview(connection, scope, period, window.end, limit, mean_of_nothing)
    answer = ExplainedOverview(
        environment=environment,
        period=period,
        after=clock.iso_exact(window.start),
        until=clock.iso_exact(window.end),
        figures=[_shown(explanation) for explanation in explained],
    )
    return answer.model_dump_json(by_alias=True).encode()


def _agents(
    connection: Connection, team: str, environment: Environment, limit: int, offset: int, mean_of_nothing: float | None
) -> bytes:
    state = teams.get(connection, team)
    now = state.clock.now()
    scope = Scope(state.id, environment.value)
    explained, total = explain.explain_agents(connection, scope, now, limit, offset, mean_of_nothing)
    answer = ExplainedAgents(
        environment=environment,
        until=clock.iso_exact(now),
        total=total,
        agents=[
            ExplainedAgent(user_id=member, figures=[_shown(explanation) for explanation in figures])
            for member, figures in explained.items()
        ],
    )
    return answer.model_dump_json(by_alias=True).encode()


def _shown(explanation: Explanation) -> ExplainedFigure:
    return ExplainedFigure.model_validate(explanation, from_attributes=True)
