"""What clients sent: list, count and find requests, the newest first."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from cstar_mock import teams
from cstar_mock.api.dependencies import Services
from cstar_mock.control.dependencies import Answer, Body, NamedId, Owned, TeamName
from cstar_mock.control.problems import described
from cstar_mock.faults import Endpoint
from cstar_mock.journal import UNMATCHED, Entry
from cstar_mock.models import Environment, KeyType
from cstar_mock.teams import UnknownName
from cstar_mock.values import WHOLE, Text

router = APIRouter(tags=["Requests"])


class RequestKey(Answer):
    """What may be shown of a key."""

    type: KeyType
    environment: Environment
    last_four: str
    name: str | None


class RequestShown(Answer):
    """A request as it came."""

    method: str
    path: str
    query: str
    endpoint: Endpoint | None
    headers: dict[str, str]
    key: RequestKey | None


class ResponseShown(Answer):
    """What was answered; status 0 means that the connection was broken."""

    status: int
    code: str | None = Field(description="`error.code` of the envelope.")
    duration_ms: float
    fault: str | None = Field(description="The fault rule that acted, or `Prefer`.")


class RecordedRequest(Answer):
    """One request and its answer."""

    id: str
    received_at: str = Field(description="Real time.")
    team_time: str = Field(description="The team's time.")
    request: RequestShown
    response: ResponseShown


class Total(Answer):
    """How many there are in all."""

    total: int


class RecordedRequests(Answer):
    """Requests, the newest first."""

    requests: list[RecordedRequest]
    meta: Total


class Count(Answer):
    """How many requests match."""

    count: int


class Criteria(Body):
    """What a request must be like; what is left out is as it likes."""

    method: Text | None = None
    path: Text | None = None
    endpoint: Endpoint | None = None
    query: Text | None = Field(None, description="The query string as it was sent.")
    key_type: KeyType | None = None
    environment: Environment | None = None
    status: Annotated[int, Field(ge=0, le=599), WHOLE] | None = None
    code: Text | None = None
    fault: Text | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether a request is like this."""
        key = entry.key or {}
        wanted = (
            (self.method, entry.method),
            (self.path, entry.path),
            (self.endpoint, entry.endpoint),
            (self.query, entry.query),
            (self.key_type, key.get("type")),
            (self.environment, key.get("environment")),
            (self.status, entry.status),
            (self.code, entry.code),
            (self.fault, entry.fault),
        )
        return all(want is None or want == is_ for want, is_ in wanted)


Limit = Annotated[int, Query(ge=1, le=100_000)]


@router.get("/requests/unmatched", operation_id="listUnmatchedRequests", responses=described())
async def list_unmatched(owned: Owned, limit: Limit = 1000) -> RecordedRequests:
    """List the requests that belonged to no team: without a valid key, or to an unknown route."""
    return _shown(await owned.state.journal.entries(UNMATCHED), limit)


@router.get("/teams/{team}/requests", operation_id="listRequests", responses=described(HTTPStatus.NOT_FOUND))
async def list_(owned: Owned, team: TeamName, limit: Limit = 1000) -> RecordedRequests:
    """List a team's requests."""
    return _shown(await _entries(owned, team), limit)


@router.delete(
    "/teams/{team}/requests",
    status_code=204,
    operation_id="deleteRequests",
    responses=described(HTTPStatus.NOT_FOUND),
)
async def delete(owned: Owned, team: TeamName) -> Response:
    """Forget a team's requests."""
    await owned.state.journal.clear(await _id(owned, team))
    return Response(status_code=204)


@router.post("/teams/{team}/requests/count", operation_id="countRequests", responses=described(HTTPStatus.NOT_FOUND))
async def count(owned: Owned, team: TeamName, criteria: Criteria) -> Count:
    """Count the requests that are like this."""
    return Count(count=sum(map(criteria.matches, await _entries(owned, team))))


@router.post("/teams/{team}/requests/find", operation_id="findRequests", responses=described(HTTPStatus.NOT_FOUND))
async def find(owned: Owned, team: TeamName, criteria: Criteria, limit: Limit = 1000) -> RecordedRequests:
    """List the requests that are like this."""
    return _shown(list(filter(criteria.matches, await _entries(owned, team))), limit)


@router.get("/teams/{team}/requests/{id}", operation_id="getRequest", responses=described(HTTPStatus.NOT_FOUND))
async def get(owned: Owned, team: TeamName, id: NamedId) -> RecordedRequest:  # noqa: A002
    """Look one request up by its id, which stood in `X-Request-Id`."""
    found = [entry for entry in await _entries(owned, team) if entry.id == id]
    if not found:
        raise UnknownName(f"there is no request {id[:100]!r} in the journal")
    return RecordedRequest.model_validate(found[0].as_json())


async def _entries(owned: Services, team: str) -> list[Entry]:
    return await owned.state.journal.entries(await _id(owned, team))


async def _id(owned: Services, team: str) -> str:
    return str((await owned.database.read(teams.get, team)).id)


def _shown(entries: list[Entry], limit: int) -> RecordedRequests:
    return RecordedRequests(
        requests=[RecordedRequest.model_validate(entry.as_json()) for entry in entries[:limit]],
        meta=Total(total=len(entries)),
    )
