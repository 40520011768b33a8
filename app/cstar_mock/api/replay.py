"""Replay: a request that was answered before gets its answer again, if that still holds, without the router.

Look first, then answer. `Replays.find` only looks: nothing is counted or recorded, so a request without a replay takes
its way through the router as if nobody had looked. `Replay.respond` only answers: it never hands a request back.

Two places look. Our own server's connection does before it starts the application, where nothing ever waits
(`http.middleware.RequestContextMiddleware.replay`); `ReplayMiddleware` does in front of the router, on any server.
`tests/properties/test_replay.py` shows that no client can tell.
"""

from slowapi.errors import RateLimitExceeded
from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock.api.analytics import periods
from cstar_mock.api.analytics.periods import Period
from cstar_mock.api.answer_cache import Asked, CachedAnswer
from cstar_mock.api.dependencies import Services, concerned_by_faults, count
from cstar_mock.api.success import success_reply
from cstar_mock.errors import ApiError, StoreUnavailable
from cstar_mock.faults import Endpoint
from cstar_mock.http.context import RequestContext, context_of
from cstar_mock.http.errors import refuse
from cstar_mock.http.facts import Client, RequestFacts, facts_of
from cstar_mock.http.replies import Reply
from cstar_mock.models import KeyType
from cstar_mock.security import Caller

_OVERVIEWS = {period: Asked("overview", period) for period in Period}
_AGENTS = Asked("agents")


class Replays:
    """Finds the answers of an application that can be given again."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def find(self, facts: RequestFacts, client: Client) -> "Replay | None":
        """Return the answer that holds for a request now, if that can be told without asking the database.

        It counts, records and asks nothing.
        """
        asked = self._asked(facts, client)
        if asked is None or facts.key is None:
            return None
        caller = self._services.key_ring.cached(facts.key)
        return None if caller is None else self._fresh(facts, caller, asked)

    async def find_in_store(self, facts: RequestFacts, client: Client) -> "Replay | None":
        """Return the answer that holds for a request now; the database is asked for its key where it has to be."""
        services = self._services
        if services.database.embedded:
            return self.find(facts, client)
        asked = self._asked(facts, client)
        if asked is None or facts.key is None or facts.team_id is None:
            return None
        if not services.answers.has(facts.team_id, asked):
            return None
        try:
            caller = await services.key_ring.find(facts.key)
        except StoreUnavailable:
            return None  # the router meets it as well, and answers it
        return None if caller is None else self._fresh(facts, caller, asked)

    def _asked(self, facts: RequestFacts, client: Client) -> Asked | None:
        """Return what a request asks for; None if only the router may answer it."""
        services = self._services
        if (
            facts.team_id is None
            or facts.key is None
            or facts.method != "GET"
            or (services.settings.prefer and facts.has_preference)
            or not services.key_guesses.has_accepted(client, facts.key)
        ):
            return None
        if facts.endpoint == Endpoint.AGENTS:
            return _AGENTS
        try:
            return _OVERVIEWS[periods.requested(facts.query_string)] if facts.endpoint == Endpoint.OVERVIEW else None
        except ApiError:
            return None

    def _fresh(self, facts: RequestFacts, caller: Caller, asked: Asked) -> "Replay | None":
        answer = self._services.answers.get(caller, asked)
        if (
            answer is None
            or not answer.is_fresh(caller)
            or caller.team_id != facts.team_id
            or caller.key_type != KeyType.SECRET
            or concerned_by_faults(facts, caller)
        ):
            return None
        return Replay(self._services, caller, answer)


class Replay:
    """An answer that holds for a request now."""

    def __init__(self, services: Services, caller: Caller, answer: CachedAnswer) -> None:
        self._services = services
        self._caller = caller
        self._answer = answer

    async def respond(self, context: RequestContext) -> Reply:
        """Count the request, and return the 200; or the 429 of a key that has used up its limit, or a 503."""
        try:
            await count(self._services, context, self._caller)
        except (RateLimitExceeded, ApiError) as error:
            return refuse(context, error)
        return success_reply(context, self._services, self._answer.data)


class ReplayMiddleware:
    """Answers with replays, and passes on all other requests."""

    def __init__(self, app: ASGIApp, replays: Replays) -> None:
        self.app = app
        self.replays = replays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            replay = await self.replays.find_in_store(facts_of(scope), scope["client"])
            if replay is not None:
                reply = await replay.respond(context_of(scope))
                await reply.send(send)
                return
        await self.app(scope, receive, send)
