"""The two analytics endpoints [doc]."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from cstar_mock.analytics.schemas import AgentStats, Overview
from cstar_mock.api.answers import compute
from cstar_mock.api.dependencies import secret_key
from cstar_mock.api.envelope import success
from cstar_mock.api.openapi import PERIOD_PARAMETER, TEAM_ID_PARAMETER, responses, secured_by_key
from cstar_mock.contract import periods
from cstar_mock.services import services_of
from cstar_mock.settings import Settings
from cstar_mock.traffic.answer_cache import Asked
from cstar_mock.traffic.authentication import Caller

SecretKeyCaller = Annotated[Caller, Depends(secret_key)]


def create_router(settings: Settings) -> APIRouter:
    """Return the endpoints, with the description that these settings require."""
    router = APIRouter(prefix="/api/v1/teams/{teamId}/analytics", tags=["Analytics"])

    @router.get(
        "/overview",
        operation_id="getAnalyticsOverview",
        summary="Get Overview",
        responses=responses("overview", Overview, settings),
        openapi_extra=secured_by_key(TEAM_ID_PARAMETER, PERIOD_PARAMETER),
    )
    async def get_overview(request: Request, caller: SecretKeyCaller) -> Response:
        """Ticket, customer and CSAT summary for a time period."""
        asked = Asked("overview", periods.requested(request.scope["query_string"]))
        answer = await compute(services_of(request), caller, asked)
        return success(request, answer.data)

    @router.get(
        "/agents",
        operation_id="getAgentStats",
        summary="Get Agent Stats",
        responses=responses("agents", list[AgentStats], settings),
        openapi_extra=secured_by_key(TEAM_ID_PARAMETER),
    )
    async def get_agents(request: Request, caller: SecretKeyCaller) -> Response:
        """Per-agent performance metrics, over all time."""
        answer = await compute(services_of(request), caller, Asked("agents"))
        return success(request, answer.data)

    return router
