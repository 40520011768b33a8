"""Replay: a request that was answered before is answered again without the router.

Look first, then answer. `Replays.find` only looks: nothing is counted or recorded, so a request without a replay goes
through the router as if nothing had happened. `Replay.respond` only answers: it never hands a request back. A
stale answer is computed again, by the function that the router uses.

Two places look. Our own server's connection does before it starts the application, where nothing ever waits
(`http.middleware.RequestContextMiddleware.replay`); `ReplayMiddleware` does in front of the router, on any server.
`tests/properties/test_replay.py` shows that no client can tell.
"""

from slowapi.errors import RateLimitExceeded
from starlette.types import ASGIApp, Receive, Scope, Send

from cstar_mock.api.answers import compute
from cstar_mock.api.dependencies import concerned_by_faults, count
from cstar_mock.api.envelope import success_reply
from cstar_mock.contract import periods
from cstar_mock.contract.errors import ApiError, StoreUnavailable
from cstar_mock.contract.periods import Period
from cstar_mock.contract.vocabulary import Endpoint, KeyType
from cstar_mock.http.context import RequestContext, context_of
from cstar_mock.http.errors import refuse
from cstar_mock.http.facts import Client, RequestFacts, facts_of
from cstar_mock.http.replies import Reply
from cstar_mock.services import Services
from cstar_mock.traffic.answer_cache import Asked, CachedAnswer
from cstar_mock.traffic.authentication import Caller

_OVERVIEWS = {period: Asked("overview", period) for period in Period}
_AGENTS = Asked("agents")


class Replays:
    """Finds the cached answers of an application."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def find(self, facts: RequestFacts, client: Client) -> "Replay | None":
        """Return the replay of a request; None if only the router may answer it.

        It never waits where the database is embedded.
        """
        asked = self._asked(facts, client)
        if asked is None or facts.key is None or facts.team_id is None:
            return None
        services = self._services
        if not services.database.embedded and not services.answers.has(facts.team_id, asked):
            return None  # to ask PostgreSQL for the key would be in vain
        try:
            caller = await services.key_ring.find(facts.key)
        except StoreUnavailable:
            return None  # the router meets it as well, and answers it
        if (
            caller is None
            or caller.team_id != facts.team_id
            or caller.key_type != KeyType.SECRET
            or concerned_by_faults(facts, caller)
        ):
            return None
        answer = services.answers.get(caller, asked)
        return None if answer is None else Replay(services, caller, asked, answer)

    def _asked(self, facts: RequestFacts, client: Client) -> Asked | None:
        """Return the question of a request; None if only the router may answer it."""
        services = self._services
        if (
            facts.team_id is None
            or facts.key is None
            or facts.method != "GET"
            or (services.settings.prefer and facts.has_preference)
            or not services.key_lockout.has_accepted(client, facts.key)
        ):
            return None
        if facts.endpoint == Endpoint.AGENTS:
            return _AGENTS
        try:
            return _OVERVIEWS[periods.requested(facts.query_string)] if facts.endpoint == Endpoint.OVERVIEW else None
        except ApiError:
            return None


class Replay:
    """The answer to a request that was answered before: the cached one if it is fresh, else a new one."""

    def __init__(self, services: Services, caller: Caller, asked: Asked, answer: CachedAnswer) -> None:
        self._services = services
        self._caller = caller
        self._asked = asked
        self._answer = answer

    async def respond(self, context: RequestContext) -> Reply:
        """Count the request, and return the 200; or the 429 of a key that has used up its limit, or a 503."""
        answer = self._answer
        try:
            await count(self._services, context, self._caller)
            if not answer.is_fresh(self._caller):
                answer = await compute(self._services, self._caller, self._asked)
        except (RateLimitExceeded, ApiError) as error:
            return refuse(context, error)
        return success_reply(context, self._services, answer.data)


class ReplayMiddleware:
    """Answers with replays, and passes on all other requests."""

    def __init__(self, app: ASGIApp, replays: Replays) -> None:
        self.app = app
        self.replays = replays

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            replay = await self.replays.find(facts_of(scope), scope["client"])
            if replay is not None:
                reply = await replay.respond(context_of(scope))
                await reply.send(send)
                return
        await self.app(scope, receive, send)
