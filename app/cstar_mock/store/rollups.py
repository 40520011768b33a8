"""Roll-ups: sums of the rows, updated with each change, so that an answer costs the same for any number of rows.

`rollup_queries` describes the buckets. What happened up to an instant is the sum of a few buckets of each width, and of
the rows in the one fine bucket that contains the instant: exact to the microsecond, and never more than some hundred
entries to read. Wider buckets would be fewer to write in a load, but would leave more rows to count: of five million
tickets in three months it is 100 at a busy hour.

`rows` hands every change that it makes to `Changes`, and no other module writes rolled-up tables. `differences`
finds writes by others, and `rebuild` repairs them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from sqlalchemy import (
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    except_,
    func,
    insert,
    select,
    union_all,
)

from cstar_mock.contract.clock import SECOND
from cstar_mock.contract.vocabulary import Environment, TicketStatus
from cstar_mock.store import bulk_insert
from cstar_mock.store.models import (
    Customer,
    NewestTicket,
    Scope,
    Team,
    Ticket,
    in_scope,
)
from cstar_mock.store.rollup_queries import (
    COUNTED,
    EXPECTED,
    FINEST,
    MEMBERS,
    NEWEST,
    NEWEST_TICKETS,
    ROLLUPS,
    TABLES,
    TOTALS,
    WIDTHS,
    Totals,
    bits,
    not_all_zero,
)

_CLOSED = TicketStatus.CLOSED.value

Row: TypeAlias = Mapping[str, Any]
Counts: TypeAlias = dict[Any, list[int]]
"""Numbers in the order of `COUNTED`, by the bucket."""


class Changes:
    """The changes that rows make to the roll-ups of one environment: counted first, written at the end."""

    def __init__(self, scope: Scope) -> None:
        self._whose = asdict(scope)
        self._finest: Counts = defaultdict(lambda: [0] * len(COUNTED))
        self._totals: dict[str, Totals] = defaultdict(Totals)

    def count(
        self,
        connection: Connection,
        sign: int,
        *,
        customers: Sequence[Row] = (),
        tickets: Sequence[Row] = (),
        csat_responses: Sequence[Row] = (),
    ) -> None:
        """Count rows that are in the store now: with the sign 1 as new ones, with the sign -1 before they go."""
        for name, buckets in (
            ("tickets", [row["created_at"] >> FINEST for row in tickets]),
            ("dropped", [row["created_at"] >> FINEST for row in tickets if _is_dropped(row)]),
            ("resolved", [row["resolved_at"] >> FINEST for row in tickets if row["resolved_at"] is not None]),
            ("customers", [row["created_at"] >> FINEST for row in customers]),
            ("responses", [row["submitted_at"] >> FINEST for row in csat_responses]),
        ):
            column = COUNTED.index(name)
            for bucket, number in Counter(buckets).items():
                self._finest[bucket][column] += sign * number
        column = COUNTED.index("score_sum")
        for row in csat_responses:
            self._finest[row["submitted_at"] >> FINEST][column] += sign * row["score"]
        self._count_work(sign, tickets)
        self._count_scores(connection, sign, tickets, csat_responses)

    def follow(self, connection: Connection, customer_ids: Iterable[str]) -> None:
        """Update the newest tickets of these customers, after tickets were created, changed or deleted."""
        column = COUNTED.index("newest_tickets")
        newest: list[Row] = []
        without: list[str] = []
        for some in bulk_insert.id_groups(sorted(customer_ids)):
            found = connection.execute(_NEWEST_OF, self._whose | {"customer_ids": some}).fetchall()
            for customer_id, before, after in found:
                if before == after:
                    continue
                if before is not None:
                    self._finest[before >> FINEST][column] -= 1
                if after is None:
                    without.append(customer_id)
                else:
                    self._finest[after >> FINEST][column] += 1
                    newest.append({"customer_id": customer_id, "created_at": after})
        bulk_insert.insert(connection, NEWEST, newest, self._whose, _SET_NEWEST)
        for some in bulk_insert.id_groups(without):
            connection.execute(_DELETE_NEWEST, self._whose | {"customer_ids": some})

    def follow_all(self, connection: Connection) -> None:
        """Do what `follow` does, for all customers at once: after a large load, much the cheaper way."""
        self._count_newest(connection, -1)
        connection.execute(delete(NEWEST).where(in_scope(NEWEST.c)), self._whose)
        connection.execute(insert(NEWEST).from_select(list(NEWEST.columns.keys()), NEWEST_TICKETS), self._whose)
        self._count_newest(connection, 1)

    def write(self, connection: Connection) -> None:
        """Add the counted changes to the roll-ups."""
        buckets, finer = self._finest, FINEST
        for width in WIDTHS:
            buckets, finer = _widened(buckets, width - finer), width
            entries = [
                {"bucket": bucket, **dict(zip(COUNTED, counts, strict=True))}
                for bucket, counts in sorted(buckets.items())
                if any(counts)
            ]
            bulk_insert.insert(connection, ROLLUPS, entries, self._whose | {"width": width}, _ADD_TO_BUCKET)
        members = [
            {"member_id": member, **asdict(change)}
            for member, change in sorted(self._totals.items())
            if change != Totals()
        ]
        bulk_insert.insert(connection, MEMBERS, members, self._whose, _ADD_TO_MEMBER)

    def _count_newest(self, connection: Connection, sign: int) -> None:
        column = COUNTED.index("newest_tickets")
        for bucket, number in connection.execute(_NEWEST_BY_BUCKET, self._whose):
            self._finest[bucket][column] += sign * number

    def _count_work(self, sign: int, tickets: Sequence[Row]) -> None:
        for row in tickets:
            assignee, answered_at = row["assignee_id"], row["first_response_at"]
            if assignee is None:
                continue
            total = self._totals[assignee]
            if row["resolved_at"] is not None:
                total.resolved += sign
            if answered_at is not None:
                waited = answered_at - row["created_at"]
                total.answered += sign
                total.waited_seconds += sign * (waited // SECOND)
                total.waited_microseconds += sign * (waited % SECOND)

    def _count_scores(
        self, connection: Connection, sign: int, tickets: Sequence[Row], csat_responses: Sequence[Row]
    ) -> None:
        assignees = {row["id"]: row["assignee_id"] for row in tickets} if csat_responses else {}
        elsewhere = [row["ticket_id"] for row in csat_responses if row["ticket_id"] not in assignees]
        for some in bulk_insert.id_groups(elsewhere):
            found = connection.execute(_ASSIGNEES, self._whose | {"ticket_ids": some}).all()
            assignees |= {row.id: row.assignee_id for row in found}
        for row in csat_responses:
            assignee = assignees[row["ticket_id"]]
            if assignee is not None:
                self._totals[assignee].responses += sign
                self._totals[assignee].score_sum += sign * row["score"]


def delete_all(connection: Connection, team_id: str, environment: str | None = None) -> None:
    """Forget a team's roll-ups, in one environment or in both, as all its rows go."""
    for table in TABLES:
        statement = delete(table).where(table.c.team_id == team_id)
        connection.execute(statement if environment is None else statement.where(table.c.environment == environment))


def rebuild(connection: Connection, scope: Scope) -> None:
    """Rebuild the roll-ups of an environment from the rows: after a large load, the cheapest way."""
    delete_all(connection, scope.team_id, scope.environment)
    for table, expected in EXPECTED:
        connection.execute(insert(table).from_select(list(table.columns.keys()), expected), asdict(scope))


def differences(connection: Connection) -> list[str]:
    """Compare all roll-ups with the rows; return a sentence for each environment and kind that differs."""
    found = []
    for scope in _scopes(connection):
        for table, expected in EXPECTED:
            kept = select(table).where(in_scope(table.c))
            if table is ROLLUPS:
                kept = kept.where(table.c.width == expected.selected_columns["width"])
            if table is not NEWEST:
                kept = kept.where(not_all_zero(table))
            differing = union_all(
                select(except_(expected, kept).subquery()), select(except_(kept, expected).subquery())
            )
            number = connection.scalar(select(func.count()).select_from(differing.subquery()), asdict(scope))
            if number:
                found.append(
                    f"{table.name}: {number} differ from the rows of team {scope.team_id} ({scope.environment})"
                )
    return found


def _scopes(connection: Connection) -> list[Scope]:
    teams = connection.scalars(select(Team.id).order_by(Team.id)).all()
    return [Scope(team_id, environment.value) for team_id in teams for environment in Environment]


_NEWEST_OF = (
    select(
        Customer.id,
        NewestTicket.created_at,
        select(func.max(Ticket.created_at))
        .where(in_scope(Ticket), Ticket.customer_id == Customer.id)
        .scalar_subquery(),
    )
    .outerjoin(NewestTicket, and_(in_scope(NewestTicket), NewestTicket.customer_id == Customer.id))
    .where(in_scope(Customer), Customer.id.in_(bindparam("customer_ids", expanding=True)))
)
_newest_bucket = NewestTicket.created_at.bitwise_rshift(bits(FINEST))
_NEWEST_BY_BUCKET = select(_newest_bucket, func.count()).where(in_scope(NewestTicket)).group_by(_newest_bucket)
_DELETE_NEWEST = delete(NewestTicket).where(
    in_scope(NewestTicket), NewestTicket.customer_id.in_(bindparam("customer_ids", expanding=True))
)
_ASSIGNEES = select(Ticket.id, Ticket.assignee_id).where(
    in_scope(Ticket), Ticket.id.in_(bindparam("ticket_ids", expanding=True))
)


def _is_dropped(ticket: Row) -> bool:
    return ticket["resolved_at"] is None and bool(ticket["status"] == _CLOSED)


def _widened(finest: Counts, by: int) -> Counts:
    if not by:
        return finest
    wider: Counts = defaultdict(lambda: [0] * len(COUNTED))
    for bucket, counts in finest.items():
        into = wider[bucket >> by]
        for index, number in enumerate(counts):
            if number:
                into[index] += number
    return wider


def _adding(table: Table, names: Sequence[str]) -> str:
    """Return the `ON CONFLICT` clause that adds the numbers to an existing row; both engines have it."""
    key = ", ".join(column.name for column in table.primary_key)
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in names)
    return f"ON CONFLICT ({key}) DO UPDATE SET {sums}"


_ADD_TO_BUCKET = _adding(ROLLUPS, COUNTED)
_ADD_TO_MEMBER = _adding(MEMBERS, TOTALS)
_SET_NEWEST = "ON CONFLICT (team_id, environment, customer_id) DO UPDATE SET created_at = excluded.created_at"
