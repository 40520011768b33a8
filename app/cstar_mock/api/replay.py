"""The replay lane: a request that was answered before never reaches the router.

If its answer still holds, it is given again; else it is computed anew, by the very function that computed it before.

It uses the very functions that the router's dependencies use: the key is still checked, the request still counted,
logged and recorded. What it saves is routing, and asking the store. It has two doors: `ReplayLane` stands in front of
the router of any ASGI server; our own server asks `replayed` before it even starts the application
(`http.context.RequestContextMiddleware.at_once`). Both must be invisible: `tests/properties/test_replay.py` sends
random histories through them and through the router.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock.api.dependencies import Services, authenticate, concerned_by_faults, count
from cstar_mock.api.success import Json, success_body
from cstar_mock.http.context import context_of, sent_of


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
    answer = services.remembered.get(scope, key)
    if answer is None:
        return None
    try:
        caller = await authenticate(scope, services, context, key)
        if not answer.holds(caller):
            if answer.team_id != caller.team_id or concerned_by_faults(scope, caller):
                return None
            await count(services, context, caller)
            answer = await answer.question(services.database, caller, answer)
            services.remembered.put(scope, key, answer)
        else:
            await count(services, context, caller)
    except Exception as failure:  # noqa: BLE001  (the router raises it, in its place)
        context.failure = failure
        return None
    return success_body(scope, services, answer.data)
