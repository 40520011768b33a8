"""Rows: members, customers, tickets and CSAT responses, one by one or many at once.

Figures change with the very next request, as they are computed from these rows.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.contract import clock, ids
from cstar_mock.contract.clock import Instant, parse_moment
from cstar_mock.contract.json_types import WHOLE, Text
from cstar_mock.contract.vocabulary import Environment, TicketStatus
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import Answer, Body, InEnvironment, Owned, TeamName
from cstar_mock.control.problems import Conflict, described
from cstar_mock.datasets.format import CsatResponseRow, CustomerRow, Id, MemberRow, Moment, Name, TicketRow
from cstar_mock.store import rows
from cstar_mock.store.models import CsatResponse, Customer, Member, Scope, Ticket
from cstar_mock.store.rows import Row
from cstar_mock.teams import teams

router = APIRouter(tags=["Rows"], route_class=ControlRoute)


def _only_what_is_named(schema: dict[str, Any]) -> None:
    """Describe a change: at least one field, and no default for the others, as they stay what they are."""
    schema["minProperties"] = 1
    for field in schema["properties"].values():
        field.pop("default", None)


class _Change(Body):
    model_config = ConfigDict(json_schema_extra=_only_what_is_named)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class MemberChange(_Change):
    """What to change of a member; `removedAt` ends the membership."""

    name: Name = ""
    created_at: Moment = ""
    removed_at: Moment | None = None


class CustomerChange(_Change):
    """What to change of a customer."""

    name: Name = ""
    created_at: Moment = ""


class NewTicket(TicketRow):
    """A ticket; by default it is new, and created now."""

    status: TicketStatus = TicketStatus.NEW
    created_at: Moment = "now"


class TicketChange(_Change):
    """What to change of a ticket.

    Resolving it without an instant resolves it now; reopening it clears the instant.
    """

    customer_id: Id = ""
    assignee_id: Id | None = None
    status: TicketStatus = TicketStatus.NEW
    created_at: Moment = ""
    first_response_at: Moment | None = None
    resolved_at: Moment | None = None


class NewCsatResponse(CsatResponseRow):
    """A customer's score for a ticket; by default it is submitted now."""

    submitted_at: Moment = "now"


class CsatResponseChange(_Change):
    """What to change of a CSAT response."""

    score: Annotated[int, Field(ge=1, le=5), WHOLE] = 1
    submitted_at: Moment = ""


class MemberShown(Answer):
    """A member as it is in the store."""

    id: str
    name: str
    created_at: str
    removed_at: str | None


class CustomerShown(Answer):
    """A customer as it is in the store."""

    id: str
    name: str
    created_at: str


class TicketShown(Answer):
    """A ticket as it is in the store."""

    id: str
    customer_id: str
    assignee_id: str | None
    status: TicketStatus
    created_at: str
    first_response_at: str | None
    resolved_at: str | None


class CsatResponseShown(Answer):
    """A CSAT response as it is in the store."""

    id: str
    ticket_id: str
    score: int
    submitted_at: str


class Total(Answer):
    """How many there are in all."""

    total: int


class _Kind(BaseModel):
    """What the routes of one kind of row need to know."""

    model_config = {"arbitrary_types_allowed": True}

    path: str
    name: str
    noun: str
    prefix: str
    model: Any
    new: type[BaseModel]
    change: type[BaseModel]
    shown: type[BaseModel]
    filters: tuple[str, ...]


_KINDS = (
    _Kind(
        path="members",
        name="Member",
        noun="member",
        prefix=ids.MEMBER,
        model=Member,
        new=MemberRow,
        change=MemberChange,
        shown=MemberShown,
        filters=("name",),
    ),
    _Kind(
        path="customers",
        name="Customer",
        noun="customer",
        prefix=ids.CUSTOMER,
        model=Customer,
        new=CustomerRow,
        change=CustomerChange,
        shown=CustomerShown,
        filters=("name",),
    ),
    _Kind(
        path="tickets",
        name="Ticket",
        noun="ticket",
        prefix=ids.TICKET,
        model=Ticket,
        new=NewTicket,
        change=TicketChange,
        shown=TicketShown,
        filters=("status", "customer_id", "assignee_id"),
    ),
    _Kind(
        path="csat-responses",
        name="CsatResponse",
        noun="CSAT response",
        prefix=ids.CSAT_RESPONSE,
        model=CsatResponse,
        new=NewCsatResponse,
        change=CsatResponseChange,
        shown=CsatResponseShown,
        filters=("ticket_id", "score"),
    ),
)


def _add_routes(kind: _Kind) -> None:
    """Add the five routes of one kind of row."""
    new, shown = kind.new, kind.shown
    many = Annotated[list[new], Field(min_length=1, max_length=bounds.MOST_ROWS_IN_REQUEST)]  # type: ignore[valid-type]
    filters = _filters(kind)
    collection, item = f"/teams/{{team}}/{kind.path}", f"/teams/{{team}}/{kind.path}/{{id}}"

    @router.post(
        collection,
        status_code=201,
        operation_id=f"create{kind.name}s",
        response_model=shown | list[shown],  # type: ignore[valid-type]
        responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        description=f"Create one {kind.noun}, or many: all of them or none.",
    )
    async def create(
        owned: Owned,
        team: TeamName,
        body: new | many,  # type: ignore[valid-type]
        environment: InEnvironment = Environment.TEST,
    ) -> Any:
        given = body if isinstance(body, list) else [body]
        created = await owned.database.write(_create, team, environment, kind, given)
        return created if isinstance(body, list) else created[0]

    @router.get(
        collection,
        operation_id=f"list{kind.name}s",
        response_model=_page(kind),
        responses=described(HTTPStatus.NOT_FOUND),
        description=f"List {kind.noun}s, sorted by id.",
    )
    async def list_(
        owned: Owned,
        team: TeamName,
        query: Annotated[filters, Query()],  # type: ignore[valid-type]
    ) -> Any:
        return await owned.database.read(_list, team, kind, query)

    @router.get(
        item,
        operation_id=f"get{kind.name}",
        response_model=shown,
        responses=described(HTTPStatus.NOT_FOUND),
        description=f"Get one {kind.noun}.",
    )
    async def get(
        owned: Owned,
        team: TeamName,
        id: Id,  # noqa: A002
        environment: InEnvironment = Environment.TEST,
    ) -> Any:
        return await owned.database.read(_get, team, environment, kind, id)

    @router.patch(
        item,
        operation_id=f"change{kind.name}",
        response_model=shown,
        responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        description=f"Change one {kind.noun}; what is not named stays as it is.",
    )
    async def change(
        owned: Owned,
        team: TeamName,
        id: Id,  # noqa: A002
        body: kind.change,  # type: ignore[name-defined]
        environment: InEnvironment = Environment.TEST,
    ) -> Any:
        return await owned.database.write(_change, team, environment, kind, id, body)

    @router.delete(
        item,
        status_code=204,
        operation_id=f"delete{kind.name}",
        responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        description=f"Delete one {kind.noun}.",
    )
    async def delete(
        owned: Owned,
        team: TeamName,
        id: Id,  # noqa: A002
        environment: InEnvironment = Environment.TEST,
    ) -> Response:
        await owned.database.write(_delete, team, environment, kind, id)
        return Response(status_code=204)


def _page(kind: _Kind) -> type[BaseModel]:
    """Return the answer of a list: some rows, sorted by id, and how many there are in all."""
    fields: dict[str, Any] = {"items": (list[kind.shown], ...), "meta": (Total, ...)}  # type: ignore[name-defined]
    return create_model(
        f"{kind.name}Page", __base__=Answer, __doc__="Some rows, and how many there are in all.", **fields
    )


def _filters(kind: _Kind) -> type[BaseModel]:
    """Return the query parameters of a list: the environment, the page, and columns to be equal to.

    A field has its parameter's own name: older releases of FastAPI mix up a field's name and its alias.
    """
    columns: dict[str, Any] = {
        to_camel(column): (
            _OF_COLUMN.get(column, Text | None),
            Field(None, description="Only those that have this value."),
        )
        for column in kind.filters
    }
    return create_model(
        f"{kind.name}Filters",
        __base__=Body,
        environment=(Environment, Environment.TEST),
        limit=(Annotated[int, Field(ge=1, le=1000)], 100),
        offset=(Annotated[int, Field(ge=0, le=10**9)], 0),
        **columns,
    )


_OF_COLUMN: dict[str, Any] = {
    "status": TicketStatus | None,
    "score": Annotated[int, Field(ge=1, le=5)] | None,
}


def _create(
    connection: Connection, team: str, environment: Environment, kind: _Kind, given: Sequence[Any]
) -> list[Row]:
    state = teams.lock(connection, team)
    now = state.clock.now()
    batch = [_row(kind, row.model_dump(), now) for row in given]
    rows.create(connection, Scope(state.id, environment.value), kind.model, batch)
    return [_shown(row) for row in batch]


def _list(connection: Connection, team: str, kind: _Kind, query: Any) -> Row:
    state = teams.get(connection, team)
    given = query.model_dump(exclude_none=True, mode="json")
    equal = {column: given[to_camel(column)] for column in kind.filters if to_camel(column) in given}
    scope = Scope(state.id, query.environment.value)
    found, total = rows.list_(connection, scope, kind.model, equal, query.limit, query.offset)
    return {"items": [_shown(row) for row in found], "meta": {"total": total}}


def _get(connection: Connection, team: str, environment: Environment, kind: _Kind, id_: str) -> Row:
    state = teams.get(connection, team)
    return _shown(rows.get(connection, Scope(state.id, environment.value), kind.model, id_))


def _change(connection: Connection, team: str, environment: Environment, kind: _Kind, id_: str, body: BaseModel) -> Row:
    state = teams.lock(connection, team)
    scope = Scope(state.id, environment.value)
    now = state.clock.now()
    columns = {name: _value(name, value, now) for name, value in body.model_dump(exclude_unset=True).items()}
    if kind.model is Ticket:
        _follow_status(columns, rows.get(connection, scope, Ticket, id_), now)
    row = rows.change(connection, scope, kind.model, id_, columns)
    return _shown(row)


def _delete(connection: Connection, team: str, environment: Environment, kind: _Kind, id_: str) -> None:
    state = teams.lock(connection, team)
    rows.remove(connection, Scope(state.id, environment.value), kind.model, id_)


def _row(kind: _Kind, given: Row, now: Instant) -> Row:
    row = {name: _value(name, value, now) for name, value in given.items()}
    row["id"] = row["id"] or ids.new(kind.prefix)
    if kind.model is Ticket:
        _follow_status(row, {"status": TicketStatus.NEW.value}, now)
    return row


def _follow_status(columns: Row, before: Row, now: Instant) -> None:
    """Resolve now what is resolved without an instant; clear the instant of what is open again."""
    status = columns.get("status", before["status"])
    if status == TicketStatus.RESOLVED and columns.get("resolved_at", before.get("resolved_at")) is None:
        columns["resolved_at"] = now
    elif status not in {TicketStatus.RESOLVED, TicketStatus.CLOSED} and columns.get("resolved_at") is None:
        columns["resolved_at"] = None


def _value(name: str, value: Any, now: Instant) -> Any:
    if name.endswith("_at") and value is not None:
        try:
            return parse_moment(value, now)
        except ValueError as error:
            raise Conflict(f"{to_camel(name)}: {error}", [(to_camel(name), str(error))]) from None
    return value.value if isinstance(value, TicketStatus) else value


def _shown(row: Row) -> Row:
    """Return a row as the control API shows it: instants in ISO 8601."""
    return {
        name: clock.iso_exact(value) if name.endswith("_at") and value is not None else value
        for name, value in row.items()
    }


for _kind in _KINDS:
    _add_routes(_kind)
