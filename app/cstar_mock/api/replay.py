"""The replay lane: a request that was answered before never reaches the router.

If its answer still holds, it is given again; else it is computed anew, by the very function that computed it before.

It uses the very functions that the router's dependencies use: the key is still checked, the request still counted,
logged and recorded. What it saves is routing, and asking the store. It has two doors: `ReplayLane` stands in front of
the router of any ASGI server; our own server asks `replayed` before it even starts the application
(`http.context.RequestContextMiddleware.at_once`). Both must be invisible: `tests/properties/test_replay.py` sends
random histories through them and through the router.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock.api.analytics import periods
from cstar_mock.api.dependencies import Services, authenticate, concerned_by_faults, count
from cstar_mock.api.remembered import Asked
from cstar_mock.api.success import Json, success_body
from cstar_mock.errors import ApiError
from cstar_mock.faults import Endpoint
from cstar_mock.http.context import context_of, sent_of
from cstar_mock.models import KeyType

_BEFORE_TEAM = ["", "api", "v1", "teams"]
_PARTS = 7
"""Parts of a path such as `/api/v1/teams/ID/analytics/overview`, the empty one in front counted."""
_AGENTS = Asked("agents")


class ReplayLane:
    """Answers what is remembered, and passes on the rest."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and not context_of(scope).looked_up:
            body = await replayed(self.services, scope)
            if body is not None:
                await Json(body)(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def replayed(services: Services, scope: Scope) -> bytes | None:
    """Return the body of a 200 whose data are remembered or can be computed again; None if the router has to answer.

    What was done for the request until then stands in its context, and is not done again: above all, a refusal is
    raised where the router would have raised it.
    """
    context, sent = context_of(scope), sent_of(scope)
    context.looked_up = True
    key = sent.key
    if key is None or scope["method"] != "GET" or (services.settings.prefer and sent.has_preference):
        return None
    team_id, asked = _asked(scope)
    if asked is None:
        return None
    try:
        caller = await authenticate(scope, services, context, key)
        answer = services.remembered.get(caller, asked)
        if (
            answer is None
            or caller.team_id != team_id
            or caller.key_type != KeyType.SECRET
            or concerned_by_faults(scope, caller)
        ):
            return None
        await count(services, context, caller)
        if not answer.holds(caller):
            answer = await answer.question(services.database, caller, answer)
            services.remembered.put(caller, asked, answer)
    except Exception as failure:  # noqa: BLE001  (the router raises it, in its place)
        context.failure = failure
        return None
    return success_body(scope, services, answer.data)


def _asked(scope: Scope) -> tuple[str, Asked | None]:
    """Return the team in the path, and what is asked of it; None if that is neither of the two answers kept."""
    parts = scope["path"].split("/")
    if len(parts) != _PARTS or parts[:4] != _BEFORE_TEAM or parts[5] != "analytics":
        return "", None
    if parts[6] == Endpoint.AGENTS:
        return parts[4], _AGENTS
    if parts[6] != Endpoint.OVERVIEW:
        return "", None
    try:
        return parts[4], Asked("overview", periods.requested(scope["query_string"]))
    except ApiError:
        return "", None
