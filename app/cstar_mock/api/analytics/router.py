"""The two analytics endpoints [doc]."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from cstar_mock.api.analytics import periods, service
from cstar_mock.api.analytics.periods import Period
from cstar_mock.api.analytics.schemas import AgentStats, Overview
from cstar_mock.api.dependencies import concerned_by_faults, secret_key, services_of
from cstar_mock.api.documentation import PERIOD_PARAMETER, TEAM_ID_PARAMETER, responses, secured_by_key
from cstar_mock.api.success import success
from cstar_mock.models import Scope
from cstar_mock.security import Caller
from cstar_mock.settings import Settings

SecretKeyCaller = Annotated[Caller, Depends(secret_key)]


def create_router(settings: Settings) -> APIRouter:
    """Return the endpoints, described as these settings make them answer."""
    router = APIRouter(prefix="/api/v1/teams/{teamId}/analytics", tags=["Analytics"])
    empty_mean = settings.mean_of_nothing

    async def _answer(
        request: Request, caller: Caller, name: str, work: Callable[..., BaseModel | list[Any]], *options: Period
    ) -> Response:
        services = services_of(request)
        now = caller.clock.now()
        question = (name, caller.team_id, caller.environment, now, *options)
        data = services.remembered.get(question)
        if data is None:
            scope = Scope(caller.team_id, caller.environment)
            data = to_json(await services.database.read(work, scope, *options, now, empty_mean))
            services.remembered.put(question, caller, data)
        if not concerned_by_faults(request.scope, caller):
            services.remembered.link(request.scope, caller, question)
        return success(request.scope, services, data)

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
        return await _answer(request, caller, "overview", service.overview, period)

    @router.get(
        "/agents",
        operation_id="getAgentStats",
        summary="Get Agent Stats",
        responses=responses("agents", list[AgentStats], settings),
        openapi_extra=secured_by_key(TEAM_ID_PARAMETER),
    )
    async def get_agents(request: Request, caller: SecretKeyCaller) -> Response:
        """Per-agent performance metrics, over all time."""
        return await _answer(request, caller, "agents", service.agents)

    return router
