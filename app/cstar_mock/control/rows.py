"""Rows: members, customers, tickets and CSAT responses, one by one or many at once.

Figures change with the very next request, as they are computed from these rows.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection

from cstar_mock import bounds
from cstar_mock.contract import clock, ids
from cstar_mock.contract.clock import Instant, parse_moment
from cstar_mock.contract.vocabulary import Environment, TicketStatus
from cstar_mock.control.bodies import ControlRoute
from cstar_mock.control.dependencies import InEnvironment, Owned, TeamName
from cstar_mock.control.problems import Conflict, described
from cstar_mock.control.row_models import KINDS, RowKind, filters_of, page_of
from cstar_mock.datasets.format import Id
from cstar_mock.store import rows
from cstar_mock.store.models import Scope, Ticket
from cstar_mock.store.rows import Row
from cstar_mock.teams import teams

router = APIRouter(tags=["Rows"], route_class=ControlRoute)


def _add_create(kind: RowKind) -> None:
    new, shown = kind.new, kind.shown
    many = Annotated[list[new], Field(min_length=1, max_length=bounds.MOST_ROWS_IN_REQUEST)]  # type: ignore[valid-type]

    @router.post(
        f"/teams/{{team}}/{kind.path}",
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


def _add_list(kind: RowKind) -> None:
    filters = filters_of(kind)

    @router.get(
        f"/teams/{{team}}/{kind.path}",
        operation_id=f"list{kind.name}s",
        response_model=page_of(kind),
        responses=described(HTTPStatus.NOT_FOUND),
        description=f"List {kind.noun}s, sorted by id.",
    )
    async def list_(
        owned: Owned,
        team: TeamName,
        query: Annotated[filters, Query()],  # type: ignore[valid-type]
    ) -> Any:
        return await owned.database.read(_list, team, kind, query)


def _add_get(kind: RowKind) -> None:
    @router.get(
        f"/teams/{{team}}/{kind.path}/{{id}}",
        operation_id=f"get{kind.name}",
        response_model=kind.shown,
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


def _add_change(kind: RowKind) -> None:
    @router.patch(
        f"/teams/{{team}}/{kind.path}/{{id}}",
        operation_id=f"change{kind.name}",
        response_model=kind.shown,
        responses=described(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        description=f"Change one {kind.noun}; fields that are not named stay as they are.",
    )
    async def change(
        owned: Owned,
        team: TeamName,
        id: Id,  # noqa: A002
        body: kind.change,  # type: ignore[name-defined]
        environment: InEnvironment = Environment.TEST,
    ) -> Any:
        return await owned.database.write(_change, team, environment, kind, id, body)


def _add_delete(kind: RowKind) -> None:
    @router.delete(
        f"/teams/{{team}}/{kind.path}/{{id}}",
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


def _create(
    connection: Connection, team: str, environment: Environment, kind: RowKind, given: Sequence[Any]
) -> list[Row]:
    state = teams.lock(connection, team)
    now = state.clock.now()
    batch = [_row(kind, row.model_dump(), now) for row in given]
    rows.create(connection, Scope(state.id, environment.value), kind.model, batch)
    return [_shown(row) for row in batch]


def _list(connection: Connection, team: str, kind: RowKind, query: Any) -> Row:
    state = teams.get(connection, team)
    given = query.model_dump(exclude_none=True, mode="json")
    equal = {column: given[to_camel(column)] for column in kind.filters if to_camel(column) in given}
    scope = Scope(state.id, query.environment.value)
    found, total = rows.list_(connection, scope, kind.model, equal, query.limit, query.offset)
    return {"items": [_shown(row) for row in found], "meta": {"total": total}}


def _get(connection: Connection, team: str, environment: Environment, kind: RowKind, id_: str) -> Row:
    state = teams.get(connection, team)
    return _shown(rows.get(connection, Scope(state.id, environment.value), kind.model, id_))


def _change(
    connection: Connection, team: str, environment: Environment, kind: RowKind, id_: str, body: BaseModel
) -> Row:
    state = teams.lock(connection, team)
    scope = Scope(state.id, environment.value)
    now = state.clock.now()
    columns = {name: _value(name, value, now) for name, value in body.model_dump(exclude_unset=True).items()}
    if kind.model is Ticket:
        _follow_status(columns, rows.get(connection, scope, Ticket, id_), now)
    row = rows.change(connection, scope, kind.model, id_, columns)
    return _shown(row)


def _delete(connection: Connection, team: str, environment: Environment, kind: RowKind, id_: str) -> None:
    state = teams.lock(connection, team)
    rows.remove(connection, Scope(state.id, environment.value), kind.model, id_)


def _row(kind: RowKind, given: Row, now: Instant) -> Row:
    row = {name: _value(name, value, now) for name, value in given.items()}
    row["id"] = row["id"] or ids.new(kind.prefix)
    if kind.model is Ticket:
        _follow_status(row, {"status": TicketStatus.NEW.value}, now)
    return row


def _follow_status(columns: Row, before: Row, now: Instant) -> None:
    """Resolve a ticket now if it is resolved without an instant; clear the instant of a reopened one."""
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


for _kind in KINDS:
    for _add in _add_create, _add_list, _add_get, _add_change, _add_delete:
        _add(_kind)
