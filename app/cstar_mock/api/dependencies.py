"""The checks that stand before every answer, in the documented order, as FastAPI dependencies.

Route (404, 405) → key (401) → rate limit (429) → team (403) → key type (403) → parameters (400) → answer. One
dependency makes all its checks itself: each further one would cost more than the checks do.
"""

from dataclasses import dataclass

from fastapi import Request

from cstar_mock import rate_limit, security
from cstar_mock.api.remembered import Remembered
from cstar_mock.database import Database
from cstar_mock.errors import ApiError
from cstar_mock.http.context import RequestContext, context_of
from cstar_mock.rate_limit import RateLimiter
from cstar_mock.security import Caller, KeyRing
from cstar_mock.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What one application owns; kept in `app.state.services`."""

    settings: Settings
    database: Database
    key_ring: KeyRing
    remembered: Remembered
    rate_limiter: RateLimiter | None


def services_of(request: Request) -> Services:
    """Return what the application owns."""
    services: Services = request.app.state.services
    return services


async def any_key(request: Request) -> Caller:
    """Accept any valid key, and count the request against its limit.

    Raises:
        ApiError: AUTHENTICATION_REQUIRED.
        RateLimitExceeded: the key has used up its limit.
    """
    services = services_of(request)
    context = context_of(request.scope)
    caller = await _authenticate(request, services, context)
    context.caller = caller
    if services.rate_limiter is not None:
        context.rate_limit = services.rate_limiter.count(caller)
        if context.rate_limit.exceeded:
            raise rate_limit.exceeded(context.rate_limit)
    return caller


async def secret_key(request: Request) -> Caller:
    """Accept only a secret key of the team in the path.

    Raises:
        ApiError: AUTHENTICATION_REQUIRED, TEAM_ACCESS_DENIED or SECRET_KEY_REQUIRED.
        RateLimitExceeded: the key has used up its limit.
    """
    caller = await any_key(request)
    security.require_team(caller, request.path_params["teamId"])
    security.require_secret_key(caller)
    return caller


async def _authenticate(request: Request, services: Services, context: RequestContext) -> Caller:
    token = security.bearer_token(request.scope["headers"])
    try:
        return await services.key_ring.find(token)
    except ApiError as error:
        if error.kind.status == 401 and services.settings.key_hint:  # noqa: PLR2004
            context.hint = security.hint(token)
        raise
