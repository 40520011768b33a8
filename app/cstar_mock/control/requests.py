"""The journal: list, count and find the requests of clients, the newest first."""

import asyncio
from collections import Counter
from functools import cached_property
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field

from cstar_mock import bounds
from cstar_mock.contract.errors import UnknownName
from cstar_mock.contract.json_types import WHOLE, Text
from cstar_mock.contract.vocabulary import Endpoint, Environment, KeyType
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, Body, NamedId, Owned, TeamName
from cstar_mock.control.problems import described
from cstar_mock.services import Services
from cstar_mock.teams import teams
from cstar_mock.traffic.journal import UNMATCHED, Entry, RequestState

router = APIRouter(tags=["Requests"], route_class=ControlRoute)

_DROPPED = "Older requests that a full journal has dropped since it was cleared; they are not counted."


class RequestKey(Answer):
    """The parts of a key that may be shown."""

    type: KeyType
    environment: Environment
    last_four: str
    name: str | None


class RequestShown(Answer):
    """A request as it arrived."""

    method: str
    path: str
    query: str
    endpoint: Endpoint | None
    headers: dict[str, str]
    key: RequestKey | None


class ResponseShown(Answer):
    """The answer, if there is one."""

    status: int | None = Field(
        description="0 if a fault rule broke the connection; null while pending, and if the client was gone."
    )
    code: str | None = Field(description="`error.code` of the envelope.")
    duration_ms: float | None = Field(
        description="Milliseconds until the answer, or until the client was gone; null while pending."
    )
    fault: str | None = Field(description="The fault rule that acted, or `Prefer`.")
    hint: str | None = Field(description="What was wrong with the key, as in `X-Cstar-Mock-Hint`.")


class RecordedRequest(Answer):
    """One request and its answer."""

    id: str
    state: RequestState = Field(
        description="`pending` from the arrival on, `answered`, or `client_gone` if the client disconnected before."
    )
    received_at: str = Field(description="Real time.")
    team_time: str = Field(description="The team's time.")
    request: RequestShown
    response: ResponseShown


class JournalTotal(Answer):
    """The number of all requests."""

    total: int
    dropped: int = Field(description=_DROPPED)


class RecordedRequests(Answer):
    """Requests, the newest first."""

    requests: list[RecordedRequest]
    meta: JournalTotal


class Count(Answer):
    """The number of requests that match."""

    count: int
    dropped: int = Field(description=_DROPPED)


class Criteria(Body):
    """Criteria that a request must match; omitted fields match anything. Names may be in snake_case, too."""

    model_config = ConfigDict(validate_by_name=True, populate_by_name=True)  # the latter: pydantic before 2.11

    method: Text | None = None
    path: Text | None = None
    endpoint: Endpoint | None = None
    query: Text | None = Field(
        None,
        max_length=bounds.LONGEST_JOURNAL_PATH,
        description="Parameters that the query must have among others: `period=week`. Empty: it has none.",
    )
    query_string: Text | None = Field(None, description="The whole query as it was sent.")
    key_type: KeyType | None = None
    environment: Environment | None = None
    state: RequestState | None = None
    status: Annotated[int, Field(ge=0, le=599), WHOLE] | None = None
    code: Text | None = None
    fault: Text | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether a request matches these criteria."""
        key = entry.key or {}
        wanted = (
            (self.method, entry.method),
            (self.path, entry.path),
            (self.endpoint, entry.endpoint),
            (self.query_string, entry.query),
            (self.key_type, key.get("type")),
            (self.environment, key.get("environment")),
            (self.state, entry.state),
            (self.status, entry.status),
            (self.code, entry.code),
            (self.fault, entry.fault),
        )
        return all(want is None or want == is_ for want, is_ in wanted) and self._has_parameters(entry)

    def _has_parameters(self, entry: Entry) -> bool:
        if self.query is None:
            return True
        parameters = _parameters(entry.query)
        return self._wanted_parameters <= parameters if self.query else not parameters

    @cached_property
    def _wanted_parameters(self) -> Counter[tuple[str, str]]:
        return _parameters(self.query or "")


def _parameters(query: str) -> Counter[tuple[str, str]]:
    return Counter(parse_qsl(query, keep_blank_values=True))


_ANY = Criteria()
Limit = Annotated[int, Query(ge=1, le=100_000)]


@router.get(
    "/requests/unmatched",
    operation_id="listUnmatchedRequests",
    response_model=RecordedRequests,
    responses=described(),
)
async def list_unmatched(owned: Owned, limit: Limit = 1000) -> Response:
    """List the requests that belonged to no team: without a valid key, or to an unknown route."""
    return await _list(owned, UNMATCHED, Criteria(), limit)


@router.get(
    "/teams/{team}/requests",
    operation_id="listRequests",
    response_model=RecordedRequests,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def list_(owned: Owned, team: TeamName, limit: Limit = 1000) -> Response:
    """List a team's requests."""
    return await _list(owned, await _id(owned, team), Criteria(), limit)


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
async def count(owned: Owned, team: TeamName, criteria: Criteria = _ANY) -> Count:
    """Count the requests that match the criteria."""
    journal, id_ = owned.state.journal, await _id(owned, team)
    entries, dropped = await journal.entries(id_), await journal.dropped(id_)
    return Count(count=len(await asyncio.to_thread(_matching, entries, criteria)), dropped=dropped)


@router.post(
    "/teams/{team}/requests/find",
    operation_id="findRequests",
    response_model=RecordedRequests,
    responses=described(HTTPStatus.NOT_FOUND),
)
async def find(owned: Owned, team: TeamName, criteria: Criteria = _ANY, limit: Limit = 1000) -> Response:
    """List the requests that match the criteria."""
    return await _list(owned, await _id(owned, team), criteria, limit)


@router.get("/teams/{team}/requests/{id}", operation_id="getRequest", responses=described(HTTPStatus.NOT_FOUND))
async def get(owned: Owned, team: TeamName, id: NamedId) -> RecordedRequest:  # noqa: A002
    """Look one request up by the id in its `X-Request-Id`."""
    found = [entry for entry in await owned.state.journal.entries(await _id(owned, team)) if entry.id == id]
    if not found:
        raise UnknownName(f"there is no request {id[:100]!r} in the journal")
    return RecordedRequest.model_validate(found[0].as_json())


async def _list(owned: Services, team_id: str, criteria: Criteria, limit: int) -> Response:
    journal = owned.state.journal
    entries, dropped = await journal.entries(team_id), await journal.dropped(team_id)
    body = await asyncio.to_thread(_listed, entries, dropped, criteria, limit)
    return Response(body, media_type="application/json")


# There may be a hundred thousand entries: a thread goes through them, so that the event loop serves others in between.


def _matching(entries: list[Entry], criteria: Criteria) -> list[Entry]:
    return list(filter(criteria.matches, entries))


def _listed(entries: list[Entry], dropped: int, criteria: Criteria, limit: int) -> bytes:
    matching = _matching(entries, criteria)
    # One by one: to write a single JSON of all of them would not let the event loop in between.
    requests = [
        RecordedRequest.model_validate(entry.as_json()).model_dump_json(by_alias=True) for entry in matching[:limit]
    ]
    meta = JournalTotal(total=len(matching), dropped=dropped).model_dump_json()
    return f'{{"requests":[{",".join(requests)}],"meta":{meta}}}'.encode()


async def _id(owned: Services, team: str) -> str:
    return str((await owned.database.read(teams.get, team)).id)
