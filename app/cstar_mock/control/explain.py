"""Where the figures come from."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from cstar_mock import clock, teams
from cstar_mock.api.analytics import explain, periods
from cstar_mock.api.analytics.explain import Explanation
from cstar_mock.api.analytics.periods import Period
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, InEnvironment, Owned, TeamName
from cstar_mock.control.problems import described
from cstar_mock.models import Environment, Scope

router = APIRouter(tags=["Explain"], route_class=ControlRoute)


class ExplainedFigure(Answer):
    """A figure, and the rows behind it."""

    figure: str
    value: float | None
    definition: str
    source: str = Field(description="Who says so: documented, from cStar's site, or ours.")
    sql: str
    parameters: dict[str, str | int] = Field(description="Instants are microseconds since 1970.")
    ids: list[str] = Field(description="As many as the figure says, or those whose values have it as their mean.")
    values: list[float] | None = Field(description="For a mean: what is averaged.")


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
    """Every figure of every agent."""

    environment: Environment
    until: str = Field(description="The team's now.")
    agents: list[ExplainedAgent]


@router.get(
    "/teams/{team}/explain/overview",
    operation_id="explainOverview",
    response_model=ExplainedOverview,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def explain_overview(
    owned: Owned, team: TeamName, period: Period = periods.DEFAULT, environment: InEnvironment = Environment.TEST
) -> Response:
    """Explain every figure of the overview of a period."""
    mean_of_nothing = owned.settings.mean_of_nothing
    return _json(await owned.database.read_snapshot(_overview, team, period, environment, mean_of_nothing))


@router.get(
    "/teams/{team}/explain/agents",
    operation_id="explainAgents",
    response_model=ExplainedAgents,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def explain_agents(owned: Owned, team: TeamName, environment: InEnvironment = Environment.TEST) -> Response:
    """Explain every figure of every agent."""
    return _json(await owned.database.read_snapshot(_agents, team, environment, owned.settings.mean_of_nothing))


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


# There may be hundreds of thousands of ids: the answer is written where the rows are read, not on the event loop.


def _overview(
    connection: Any, team: str, period: Period, environment: Environment, mean_of_nothing: float | None
) -> bytes:
    state = teams.get(connection, team)
    window = periods.window(period, state.clock.now())
    scope = Scope(state.id, environment.value)
    explained = explain.explain_overview(connection, scope, period, window.end, mean_of_nothing)
    answer = ExplainedOverview(
        environment=environment,
        period=period,
        after=clock.iso_exact(window.start),
        until=clock.iso_exact(window.end),
        figures=[_shown(explanation) for explanation in explained],
    )
    return answer.model_dump_json(by_alias=True).encode()


def _agents(connection: Any, team: str, environment: Environment, mean_of_nothing: float | None) -> bytes:
    state = teams.get(connection, team)
    now = state.clock.now()
    explained = explain.explain_agents(connection, Scope(state.id, environment.value), now, mean_of_nothing)
    answer = ExplainedAgents(
        environment=environment,
        until=clock.iso_exact(now),
        agents=[
            ExplainedAgent(user_id=member, figures=[_shown(explanation) for explanation in figures])
            for member, figures in explained.items()
        ],
    )
    return answer.model_dump_json(by_alias=True).encode()


def _shown(explanation: Explanation) -> ExplainedFigure:
    return ExplainedFigure.model_validate(explanation, from_attributes=True)
