"""Where the figures come from."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from cstar_mock import clock, teams
from cstar_mock.api.analytics import explain, periods
from cstar_mock.api.analytics.explain import Explanation
from cstar_mock.api.analytics.periods import Period
from cstar_mock.control.dependencies import Answer, InEnvironment, Owned, TeamName
from cstar_mock.control.problems import described
from cstar_mock.models import Environment, Scope

router = APIRouter(tags=["Explain"])


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


@router.get("/teams/{team}/explain/overview", operation_id="explainOverview", responses=described(HTTPStatus.NOT_FOUND))
async def explain_overview(
    owned: Owned, team: TeamName, period: Period = periods.DEFAULT, environment: InEnvironment = Environment.TEST
) -> ExplainedOverview:
    """Explain every figure of the overview of a period."""
    state = await owned.database.read(teams.get, team)
    window = periods.window(period, state.clock.now())
    scope = Scope(state.id, environment.value)
    explained = await owned.database.read(
        explain.explain_overview, scope, period, window.end, owned.settings.mean_of_nothing
    )
    return ExplainedOverview(
        environment=environment,
        period=period,
        after=clock.iso_exact(window.start),
        until=clock.iso_exact(window.end),
        figures=[_shown(explanation) for explanation in explained],
    )


@router.get("/teams/{team}/explain/agents", operation_id="explainAgents", responses=described(HTTPStatus.NOT_FOUND))
async def explain_agents(
    owned: Owned, team: TeamName, environment: InEnvironment = Environment.TEST
) -> ExplainedAgents:
    """Explain every figure of every agent."""
    state = await owned.database.read(teams.get, team)
    now = state.clock.now()
    explained: dict[str, Any] = await owned.database.read(
        explain.explain_agents, Scope(state.id, environment.value), now, owned.settings.mean_of_nothing
    )
    return ExplainedAgents(
        environment=environment,
        until=clock.iso_exact(now),
        agents=[
            ExplainedAgent(user_id=member, figures=[_shown(explanation) for explanation in figures])
            for member, figures in explained.items()
        ],
    )


def _shown(explanation: Explanation) -> ExplainedFigure:
    return ExplainedFigure.model_validate(explanation, from_attributes=True)
