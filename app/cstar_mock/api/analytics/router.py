"""The two analytics endpoints [doc]."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from cstar_mock.api.analytics import periods, service
from cstar_mock.api.analytics.schemas import AgentStats, Overview
from cstar_mock.api.answer_cache import Asked, CachedAnswer
from cstar_mock.api.dependencies import secret_key, services_of
from cstar_mock.api.documentation import PERIOD_PARAMETER, TEAM_ID_PARAMETER, responses, secured_by_key
from cstar_mock.api.success import success
from cstar_mock.clock import Instant
from cstar_mock.models import Scope
from cstar_mock.security import Caller
from cstar_mock.settings import Settings

SecretKeyCaller = Annotated[Caller, Depends(secret_key)]


def create_router(settings: Settings) -> APIRouter:
    """Return the endpoints, described as these settings make them answer."""
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
        period = periods.requested(request.scope["query_string"])
        work = partial(service.overview, period=period)
        holds_until = partial(service.overview_holds_until, period=period)
        return await _answer(request, caller, Asked("overview", period), work, holds_until)

    @router.get(
        "/agents",
        operation_id="getAgentStats",
        summary="Get Agent Stats",
        responses=responses("agents", list[AgentStats], settings),
        openapi_extra=secured_by_key(TEAM_ID_PARAMETER),
    )
    async def get_agents(request: Request, caller: SecretKeyCaller) -> Response:
        """Per-agent performance metrics, over all time."""
        return await _answer(request, caller, Asked("agents"), service.agents, service.agents_hold_until)

    return router


async def _answer(
    request: Request,
    caller: Caller,
    asked: Asked,
    work: Callable[..., BaseModel | list[AgentStats]],
    holds_until: Callable[..., Instant | None],
) -> Response:
    services = services_of(request)
    scope, now = Scope(caller.team_id, caller.environment), caller.clock.now()
    before = services.answers.get(caller, asked)
    data = to_json(await services.database.read(work, scope, now=now, empty_mean=services.settings.mean_of_nothing))
    until: Instant | None = None
    if caller.clock.frozen_at is None:
        # How long it holds is only worth finding out for what is asked again while nothing is written.
        until = now
        if before is not None and before.revision == caller.revision:
            until = await services.database.read(holds_until, scope, now=now)
    services.answers.put(caller, asked, CachedAnswer(data, caller.revision, now, until))
    return success(request, data)
