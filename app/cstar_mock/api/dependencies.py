"""The checks before every answer, in the documented order, as FastAPI dependencies.

Route (404, 405) → key (401) → rate limit (429) → faults → team (403) → key type (403) → parameters (400) → answer.
One dependency makes all its checks itself: each further one would cost more than the checks do.
"""

from functools import partial

from fastapi import Request
from starlette.types import Scope

from cstar_mock.contract import periods
from cstar_mock.contract.clock import real_now
from cstar_mock.contract.errors import RATE_LIMIT_EXCEEDED, ApiError, authentication_required
from cstar_mock.contract.vocabulary import Endpoint
from cstar_mock.http.context import RequestContext, context_of
from cstar_mock.http.facts import RequestFacts, facts_of
from cstar_mock.services import Services, services_of
from cstar_mock.traffic import authentication, faults, prefer, rate_limit
from cstar_mock.traffic.authentication import Caller
from cstar_mock.traffic.fault_rules import FaultRequest


async def any_key(request: Request) -> Caller:
    """Accept any valid key, count the request against its limit, and let it fail if it is to fail.

    Raises:
        ApiError: AUTHENTICATION_REQUIRED, or whatever a fault rule or `Prefer` asks for.
        RateLimitExceeded: the key has used up its limit.
        CannedAnswer: a fault rule or `Prefer` asks for it.
        ConnectionBroken: a fault rule asks for it.
        ClientGone: the client has disconnected during a delay.
    """
    services, context = services_of(request), context_of(request.scope)
    caller = await _authenticate(request.scope, services, context)
    await count(services, context, caller)
    await _fail_if_asked_to(request, services, context, caller)
    return caller


async def _authenticate(scope: Scope, services: Services, context: RequestContext) -> Caller:
    key = facts_of(scope).key
    caller = None
    if key is not None:  # to send no key is no guess
        caller = await services.key_lockout.test(scope["client"], key, partial(services.key_ring.find, key))
    if caller is None:
        if services.settings.key_hint:
            context.hint = authentication.hint(authentication.bearer_token(scope["headers"]))
        raise authentication_required()
    return caller


async def count(services: Services, context: RequestContext, caller: Caller) -> None:
    """Count the request against the limit of its key.

    Raises:
        RateLimitExceeded: the key has used up its limit.
        StateUnavailable: the counters are shared, and can't be reached.
    """
    context.caller = caller
    if services.settings.rate_limits:
        context.rate_limit = await services.rate_limiter.count(caller)
        if context.rate_limit is not None and context.rate_limit.exceeded:
            raise rate_limit.exceeded(context.rate_limit)


def concerned_by_faults(facts: RequestFacts, caller: Caller) -> bool:
    """Whether a fault rule of the team may decide about such a request."""
    if not caller.faults:
        return False
    request = _fault_request(facts)
    return any(active.rule.matches(request) for active in caller.faults)


async def secret_key(request: Request) -> Caller:
    """Accept only a secret key of the team in the path.

    Raises:
        ApiError: AUTHENTICATION_REQUIRED, TEAM_ACCESS_DENIED or SECRET_KEY_REQUIRED.
        RateLimitExceeded: the key has used up its limit.
    """
    caller = await any_key(request)
    authentication.require_team(caller, request.path_params["teamId"])
    authentication.require_secret_key(caller)
    return caller


async def _fail_if_asked_to(request: Request, services: Services, context: RequestContext, caller: Caller) -> None:
    scope = request.scope
    decision: faults.Decision | None = None
    if services.settings.prefer:
        preferred = prefer.preferred(scope["headers"])
        if preferred is not None:
            decision, context.preference_applied = preferred
            context.fault = "Prefer"
    if decision is None and caller.faults:
        now = real_now() + caller.clock.advanced
        decision = await faults.decide(
            caller.faults, _fault_request(facts_of(scope)), caller.team_id, services.state.fault_counts, now
        )
        if decision is not None:
            context.fault = decision.rule_id
    if decision is None:
        return
    if context.rate_limit is not None and decision.status in {RATE_LIMIT_EXCEEDED.status, RATE_LIMIT_EXCEEDED.name}:
        # A 429 whose headers said that requests are left would be a contradiction.
        context.rate_limit = rate_limit.used_up(context.rate_limit, decision.whole_seconds())
    if decision.delay_ms:
        assert context.recording is not None  # noqa: S101  (every request has one once the application is started)
        await context.recording.wait(decision.delay_ms / 1000, request.receive)
    decision.fail()


def _fault_request(facts: RequestFacts) -> FaultRequest:
    endpoint = facts.path.rsplit("/", 1)[-1]
    period = None
    if endpoint == Endpoint.OVERVIEW:
        try:
            period = periods.requested(facts.query_string)
        except ApiError:
            period = None  # A period that is not allowed matches no rule about one.
    return FaultRequest(endpoint, period)
