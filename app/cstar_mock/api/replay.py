"""The replay lane: a request that was answered before never reaches the router.

If its answer still holds, it is given again; else it is computed anew, by the very function that computed it before.

It stands in front of the router and uses the very functions that the router's dependencies use: the key is still
checked, the request still counted, logged and recorded. What it saves is routing, and asking the store. It must be
invisible: `tests/properties/test_replay.py` sends random histories through both doors.
"""

from slowapi.errors import RateLimitExceeded
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock import security
from cstar_mock.api.dependencies import Services, authenticate, count
from cstar_mock.api.success import success
from cstar_mock.errors import ApiError
from cstar_mock.http.context import context_of
from cstar_mock.http.errors import api_error, rate_limit_exceeded


class ReplayLane:
    """Answers what is remembered, and passes on the rest."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["method"] == "GET" and not self._has_preference(scope):
            response = await self._replay(scope)
            if response is not None:
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _replay(self, scope: Scope) -> Response | None:
        context = context_of(scope)
        key = security.key_digest(scope["headers"])
        if key is None:
            return None
        answer = self.services.remembered.get(scope, key)
        if answer is None:
            return None
        try:
            caller = await authenticate(scope, self.services, context, key)
            if not answer.holds(caller) and not answer.may_be_computed_again(caller):
                return None
            await count(self.services, context, caller)
            if not answer.holds(caller):
                answer = await answer.again(caller, answer)
                self.services.remembered.put(scope, key, answer)
        except ApiError as error:
            return await api_error(Request(scope), error)
        except RateLimitExceeded as error:
            return await rate_limit_exceeded(Request(scope), error)
        return success(scope, self.services, answer.data)

    def _has_preference(self, scope: Scope) -> bool:
        return self.services.settings.prefer and any(name == b"prefer" for name, _ in scope["headers"])
