"""The rows of a team: their rules, and creating, listing, changing and deleting them.

The schema has the same rules as constraints; here each has a message by which a person can fix the row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, update

from cstar_mock.contract.clock import Instant
from cstar_mock.contract.vocabulary import TicketStatus
from cstar_mock.store import bulk_insert, rollups
from cstar_mock.store.models import CsatResponse, Customer, Member, Scope, Ticket
from cstar_mock.store.rollup_queries import NEWEST
from cstar_mock.store.rollups import Changes

Row: TypeAlias = dict[str, Any]
"""A row by its column names, without team and environment."""

RowModel: TypeAlias = type[Member] | type[Customer] | type[Ticket] | type[CsatResponse]

_NEVER_RESOLVED = (TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING)


@dataclass(slots=True)
class Rows:
    """Rows of one environment of one team, in the order in which they can be inserted."""

    members: list[Row] = field(default_factory=list)
    customers: list[Row] = field(default_factory=list)
    tickets: list[Row] = field(default_factory=list)
    csat_responses: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(batch) for _, batch in self.batches())

    def batches(self) -> Iterator[tuple[RowModel, list[Row]]]:
        """Yield each kind of row with its rows, those first that others refer to."""
        yield Member, self.members
        yield Customer, self.customers
        yield Ticket, self.tickets
        yield CsatResponse, self.csat_responses


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One invalid row: its index in the batch, the column, and the reason."""

    index: int
    column: str
    message: str


class RowsRefused(ValueError):
    """Rows that break a rule; the store is as it was."""

    def __init__(self, model: RowModel, problems: Sequence[RowProblem]) -> None:
        self.model = model
        self.problems = problems
        super().__init__(problems[0].message)


class UnknownRow(LookupError):
    """There is no row with that id."""


def ticket(
    id_: str,
    customer_id: str,
    created_at: Instant,
    *,
    assignee_id: str | None = None,
    status: TicketStatus = TicketStatus.OPEN,
    first_response_at: Instant | None = None,
    resolved_at: Instant | None = None,
) -> Row:
    """Return a ticket's row."""
    return {
        "id": id_,
        "customer_id": customer_id,
        "assignee_id": assignee_id,
        "status": status.value,
        "created_at": created_at,
        "first_response_at": first_response_at,
        "resolved_at": resolved_at,
    }


def insert_rows(connection: Connection, scope: Scope, rows: Rows) -> None:
    """Insert rows that are known to keep the rules."""
    _insert(connection, scope, rows)
    changes = Changes(scope)
    changes.count(connection, 1, customers=rows.customers, tickets=rows.tickets, csat_responses=rows.csat_responses)
    changes.follow(connection, {row["customer_id"] for row in rows.tickets})
    changes.write(connection)


@contextmanager
def large_load(connection: Connection, scope: Scope, tickets: int) -> Iterator[Callable[[Rows], None]]:
    """Yield a function that inserts rows which are known to keep the rules; the roll-ups follow at the end.

    Args:
        connection: the store.
        scope: whose rows.
        tickets: how many will come.
    """
    changes = Changes(scope)

    def insert_some(rows: Rows) -> None:
        _insert(connection, scope, rows)
        changes.count(connection, 1, customers=rows.customers, tickets=rows.tickets, csat_responses=rows.csat_responses)

    tables = [_table(model) for model, _ in Rows().batches()]
    many = bulk_insert.are_many(connection, tables, tickets)
    with bulk_insert.indexed_at_the_end(connection, [NEWEST], many=many):
        with bulk_insert.indexed_at_the_end(connection, tables, many=many):
            yield insert_some
        changes.follow_all(connection)
    changes.write(connection)


def _insert(connection: Connection, scope: Scope, rows: Rows) -> None:
    for model, batch in rows.batches():
        bulk_insert.insert(connection, _table(model), batch, asdict(scope))


def create(connection: Connection, scope: Scope, model: RowModel, batch: list[Row]) -> None:
    """Insert rows of one kind, if all of them keep the rules.

    Raises:
        RowsRefused: naming every row that does not.
    """
    taken = _known_ids(connection, scope, model, [row["id"] for row in batch])
    problems = [*_id_problems(batch, taken), *_problems(connection, scope, model, batch)]
    if problems:
        raise RowsRefused(model, sorted(problems, key=lambda problem: problem.index))
    rows = Rows()
    next(target for kind, target in rows.batches() if kind is model).extend(batch)
    insert_rows(connection, scope, rows)


def change(connection: Connection, scope: Scope, model: RowModel, id_: str, columns: Row) -> Row:
    """Change some columns of a row, and return it as it is then.

    Raises:
        UnknownRow: there is no such row.
        RowsRefused: the row would break a rule.
    """
    before = get(connection, scope, model, id_)
    row = {**before, **columns}
    problems = [*_problems(connection, scope, model, [row])]
    responses = _responses_to(connection, scope, id_) if model is Ticket else []
    if any(response["submitted_at"] < row["created_at"] for response in responses):
        problems.append(RowProblem(0, "created_at", "a ticket can't be created after its CSAT response"))
    if problems:
        raise RowsRefused(model, problems)
    if columns:
        changes = Changes(scope)
        changes.count(connection, -1, **_counted(model, before, responses))
        connection.execute(update(model).where(_in(scope, model), model.id == id_).values(columns))
        changes.count(connection, 1, **_counted(model, row, responses))
        if model is Ticket:
            changes.follow(connection, {before["customer_id"], row["customer_id"]})
        changes.write(connection)
    return row


def remove(connection: Connection, scope: Scope, model: RowModel, id_: str) -> None:
    """Delete a row; a ticket takes its CSAT response with it.

    Raises:
        UnknownRow: there is no such row.
        RowsRefused: tickets refer to it.
    """
    row = get(connection, scope, model, id_)
    referring = {Customer: Ticket.customer_id, Member: Ticket.assignee_id}.get(model)
    if referring is not None:
        count = connection.scalar(select(func.count()).where(_in(scope, Ticket), referring == id_)) or 0
        if count:
            instead = "; set removedAt to end a membership" if model is Member else ""
            raise RowsRefused(model, [RowProblem(0, "id", f"{count} tickets refer to {id_!r}{instead}")])
    responses = _responses_to(connection, scope, id_) if model is Ticket else []
    changes = Changes(scope)
    changes.count(connection, -1, **_counted(model, row, responses))
    connection.execute(delete(model).where(_in(scope, model), model.id == id_))
    if model is Ticket:
        changes.follow(connection, {row["customer_id"]})
    changes.write(connection)


def delete_all(connection: Connection, team_id: str, environment: str | None = None) -> None:
    """Delete a team's members, customers, tickets and CSAT responses, in one environment or in both."""
    for model in (CsatResponse, Ticket, Customer, Member):
        statement = delete(model).where(model.team_id == team_id)
        connection.execute(statement if environment is None else statement.where(model.environment == environment))
    rollups.delete_all(connection, team_id, environment)


def _responses_to(connection: Connection, scope: Scope, ticket_id: str) -> list[Row]:
    found = select(*_columns(CsatResponse)).where(_in(scope, CsatResponse), CsatResponse.ticket_id == ticket_id)
    return [row._asdict() for row in connection.execute(found)]


def _counted(model: RowModel, row: Row, responses: list[Row]) -> dict[str, list[Row]]:
    """Return the rows that count with one row: a ticket's response too, as its score is the assignee's."""
    return {} if model is Member else {"csat_responses": responses, model.__tablename__: [row]}


def get(connection: Connection, scope: Scope, model: RowModel, id_: str) -> Row:
    """Return a row.

    Raises:
        UnknownRow: there is no such row.
    """
    row = connection.execute(select(*_columns(model)).where(_in(scope, model), model.id == id_)).first()
    if row is None:
        raise UnknownRow(f"there is no {id_!r} in the {scope.environment} environment")
    return row._asdict()


def list_(
    connection: Connection, scope: Scope, model: RowModel, equal: Mapping[str, Any], limit: int, offset: int
) -> tuple[list[Row], int]:
    """Return a page of the rows whose columns are equal to these values, by id, and the number of all."""
    wanted = [_in(scope, model), *(getattr(model, column) == value for column, value in equal.items())]
    total = connection.scalar(select(func.count()).select_from(model).where(*wanted)) or 0
    page = select(*_columns(model)).where(*wanted).order_by(model.id).limit(limit).offset(offset)
    return [row._asdict() for row in connection.execute(page)], total


def _table(model: RowModel) -> Table:
    return model.__table__  # type: ignore[return-value]  # the declarative base types it wider


def _columns(model: RowModel) -> list[Any]:
    return [column for column in _table(model).columns if column.name not in {"team_id", "environment"}]


def _in(scope: Scope, model: RowModel) -> ColumnElement[bool]:
    return (model.team_id == scope.team_id) & (model.environment == scope.environment)


def _known_ids(connection: Connection, scope: Scope, model: RowModel, wanted: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for some in bulk_insert.id_groups(wanted):
        known |= set(connection.scalars(select(model.id).where(_in(scope, model), model.id.in_(some))))
    return known


def _id_problems(batch: list[Row], taken: set[str]) -> Iterator[RowProblem]:
    for index, row in enumerate(batch):
        if row["id"] in taken:
            yield RowProblem(index, "id", f"the id {row['id']!r} is taken already")
        taken.add(row["id"])


def _problems(connection: Connection, scope: Scope, model: RowModel, batch: list[Row]) -> Iterator[RowProblem]:
    if model is Member:
        for index, row in enumerate(batch):
            if row["removed_at"] is not None and row["removed_at"] < row["created_at"]:
                yield RowProblem(index, "removed_at", "a member can't be removed before joining")
    elif model is Ticket:
        yield from _ticket_problems(connection, scope, batch)
    elif model is CsatResponse:
        yield from _response_problems(connection, scope, batch)


def _ticket_problems(connection: Connection, scope: Scope, batch: list[Row]) -> Iterator[RowProblem]:
    customers = _known_ids(connection, scope, Customer, [*{row["customer_id"] for row in batch}])
    assignees = {row["assignee_id"] for row in batch if row["assignee_id"] is not None}
    members = _known_ids(connection, scope, Member, [*assignees])
    for index, row in enumerate(batch):
        status, created, resolved = row["status"], row["created_at"], row["resolved_at"]
        if row["customer_id"] not in customers:
            yield RowProblem(index, "customer_id", f"no customer has the id {row['customer_id']!r}")
        if row["assignee_id"] is not None and row["assignee_id"] not in members:
            yield RowProblem(index, "assignee_id", f"no member has the id {row['assignee_id']!r}")
        if row["first_response_at"] is not None and row["first_response_at"] < created:
            yield RowProblem(index, "first_response_at", "the first response can't be before the ticket's creation")
        if resolved is not None and resolved < created:
            yield RowProblem(index, "resolved_at", "a ticket can't be resolved before its creation")
        if status == TicketStatus.RESOLVED and resolved is None:
            yield RowProblem(index, "resolved_at", "a resolved ticket needs the instant of its resolution")
        if resolved is not None and status in _NEVER_RESOLVED:
            sentence = f"a ticket with status {status} has no resolution: reopening clears it"
            yield RowProblem(index, "resolved_at", sentence)


def _response_problems(connection: Connection, scope: Scope, batch: list[Row]) -> Iterator[RowProblem]:
    created: dict[str, Instant] = {}
    scored: dict[str, str] = {}
    wanted = [row["ticket_id"] for row in batch]
    for some in bulk_insert.id_groups(wanted):
        tickets = select(Ticket.id, Ticket.created_at).where(_in(scope, Ticket), Ticket.id.in_(some))
        created |= {row.id: row.created_at for row in connection.execute(tickets)}
        responses = select(CsatResponse.ticket_id, CsatResponse.id).where(
            _in(scope, CsatResponse), CsatResponse.ticket_id.in_(some)
        )
        scored |= {row.ticket_id: row.id for row in connection.execute(responses)}
    for index, row in enumerate(batch):
        ticket_id = row["ticket_id"]
        if ticket_id not in created:
            yield RowProblem(index, "ticket_id", f"no ticket has the id {ticket_id!r}")
        elif row["submitted_at"] < created[ticket_id]:
            yield RowProblem(index, "submitted_at", "a response can't be before its ticket's creation")
        if scored.setdefault(ticket_id, row["id"]) != row["id"]:
            yield RowProblem(index, "ticket_id", f"the ticket {ticket_id!r} has a response already")
