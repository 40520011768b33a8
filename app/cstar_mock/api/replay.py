"""The replay lane: a request that was answered before, and whose answer still holds, never reaches the router.

It stands in front of the router and uses the very functions that the router's dependencies use: the key is still
checked, the request still counted, logged and recorded. What it saves is routing, and asking the store. It must be
invisible: `tests/properties/test_replay.py` sends random histories through both doors.
"""

from slowapi.errors import RateLimitExceeded
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock.api.dependencies import Services, count
from cstar_mock.api.success import success
from cstar_mock.errors import StateUnavailable
from cstar_mock.http.context import context_of
from cstar_mock.http.errors import api_error, rate_limit_exceeded


class ReplayLane:
    """Answers what is remembered, and passes on the rest."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self.services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or self._has_preference(scope):
            await self.app(scope, receive, send)
            return
        found = self.services.remembered.replay(scope)
        if found is None:
            await self.app(scope, receive, send)
            return
        caller, data = found
        try:
            await count(self.services, context_of(scope), caller)
            response = success(scope, self.services, data)
        except RateLimitExceeded as error:
            response = await rate_limit_exceeded(Request(scope), error)
        except StateUnavailable as error:
            response = await api_error(Request(scope), error)
        await response(scope, receive, send)

    def _has_preference(self, scope: Scope) -> bool:
        return self.services.settings.prefer and any(name == b"prefer" for name, _ in scope["headers"])
