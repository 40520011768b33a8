"""The two analytics endpoints [doc]."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Scope as HttpScope

from cstar_mock.api.analytics import periods, service
from cstar_mock.api.analytics.periods import Period
from cstar_mock.api.analytics.schemas import AgentStats, Overview
from cstar_mock.api.dependencies import Services, concerned_by_faults, secret_key, services_of
from cstar_mock.api.documentation import PERIOD_PARAMETER, TEAM_ID_PARAMETER, responses, secured_by_key
from cstar_mock.api.remembered import Answer, Asked, Question
from cstar_mock.api.success import success
from cstar_mock.clock import Instant
from cstar_mock.database import Database
from cstar_mock.models import Scope
from cstar_mock.security import Caller
from cstar_mock.settings import Settings

SecretKeyCaller = Annotated[Caller, Depends(secret_key)]


def create_router(settings: Settings) -> APIRouter:
    """Return the endpoints, described as these settings make them answer."""
    router = APIRouter(prefix="/api/v1/teams/{teamId}/analytics", tags=["Analytics"])
    empty_mean = settings.mean_of_nothing

    def question(
        work: Callable[..., BaseModel | list[AgentStats]],
        holds_until: Callable[..., Instant | None],
        *options: Period,
    ) -> Question:
        async def answer(database: Database, caller: Caller, before: Answer | None) -> Answer:
            scope, now = Scope(caller.team_id, caller.environment), caller.clock.now()
            data = to_json(await database.read(work, scope, *options, now, empty_mean))
            until: Instant | None = None
            if caller.clock.frozen_at is None:
                # How long it holds is only worth finding out for what is asked again while nothing is written.
                until = now
                if before is not None and before.revision == caller.revision:
                    until = await database.read(holds_until, scope, *options, now)
            return Answer(data, caller.revision, now, until, answer)

        return answer

    # All answers to a question share it: thousands of them are remembered.
    overview = {period: question(service.overview, service.overview_holds_until, period) for period in Period}
    agents = question(service.agents, service.agents_hold_until)

    @router.get(
        "/overview",
        operation_id="getAnalyticsOverview",
        summary="Get Overview",
        responses=responses("overview", Overview, settings),
        openapi_extra=secured_by_key(TEAM_ID_PARAMETER, PERIOD_PARAMETER),
    )
    async def get_overview(request: Request, caller: SecretKeyCaller) -> Response:
        """Ticket, customer and CSAT summary for a time period."""
        period = periods.requested(request.scope["query_string"])
        return await _answer(request.scope, services_of(request), caller, Asked("overview", period), overview[period])

    @router.get(
        "/agents",
        operation_id="getAgentStats",
        summary="Get Agent Stats",
        responses=responses("agents", list[AgentStats], settings),
        openapi_extra=secured_by_key(TEAM_ID_PARAMETER),
    )
    async def get_agents(request: Request, caller: SecretKeyCaller) -> Response:
        """Per-agent performance metrics, over all time."""
        return await _answer(request.scope, services_of(request), caller, Asked("agents"), agents)

    return router


async def _answer(scope: HttpScope, services: Services, caller: Caller, asked: Asked, question: Question) -> Response:
    answer = await question(services.database, caller, services.remembered.get(caller, asked))
    if not concerned_by_faults(scope, caller):
        services.remembered.put(caller, asked, answer)
    return success(scope, services, answer.data)
