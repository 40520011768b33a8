"""Roll-ups: what the rows add up to, kept as they change, so that an answer costs the same however many there are.

Time is cut into buckets of four widths. A width is a number of bits: an instant, shifted right by so many, is the
number of its bucket. A bucket is 32 of the next finer width, and the finest is 134 seconds long. So what happened up to
an instant is the sum of a few buckets of each width, and of the rows in the one fine bucket that the instant lies in:
exact to the microsecond, and never more than some hundred entries to read. Wider buckets would be fewer to write in a
load, but would leave more rows to count: of five million tickets in three months it is 100 at a busy hour.

`rows` hands every change that it makes to `Changes`, and nobody else writes to tables that are rolled up. What was
written behind its back is found by `differences`, and mended by `rebuild`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    except_,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
)

from cstar_mock.contract.clock import SECOND
from cstar_mock.contract.vocabulary import Environment, TicketStatus
from cstar_mock.store import bulk_insert
from cstar_mock.store.models import (
    ENVIRONMENT,
    TEAM_ID,
    CsatResponse,
    Customer,
    MemberTotals,
    NewestTicket,
    Rollup,
    Scope,
    Team,
    Ticket,
    in_scope,
)

STEP = 5
"""By how many bits each width is more than the next finer one."""

WIDTHS = (27, 32, 37, 42)
"""Bits of an instant that a bucket leaves out: 134 seconds, 72 minutes, 38 hours, 51 days."""

FINEST = WIDTHS[0]

_CLOSED = TicketStatus.CLOSED.value

COUNTED = ("tickets", "dropped", "resolved", "customers", "newest_tickets", "responses", "score_sum")
"""What a bucket counts."""

TOTALS = ("resolved", "answered", "waited_seconds", "waited_microseconds", "responses", "score_sum")
"""What a member's totals are."""

Row: TypeAlias = Mapping[str, Any]
Counts: TypeAlias = dict[Any, list[int]]
"""Numbers in the order of `COUNTED` or `TOTALS`, by the bucket or the member."""


class Changes:
    """What a change of rows adds to the roll-ups of one environment: first counted, at the end written."""

    def __init__(self, scope: Scope) -> None:
        self._whose = asdict(scope)
        self._finest: Counts = defaultdict(lambda: [0] * len(COUNTED))
        self._totals: Counts = defaultdict(lambda: [0] * len(TOTALS))

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
        """Find out which tickets of these customers are their newest ones, after tickets have come, moved or gone."""
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
        connection.execute(insert(NEWEST).from_select(list(NEWEST.columns.keys()), _NEWEST_TICKETS), self._whose)
        self._count_newest(connection, 1)

    def write(self, connection: Connection) -> None:
        """Add what was counted to the roll-ups."""
        buckets, finer = self._finest, FINEST
        for width in WIDTHS:
            buckets, finer = _widened(buckets, width - finer), width
            entries = [
                {"bucket": bucket, **dict(zip(COUNTED, counts, strict=True))}
                for bucket, counts in sorted(buckets.items())
                if any(counts)
            ]
            bulk_insert.insert(connection, _ROLLUPS, entries, self._whose | {"width": width}, _ADD_TO_BUCKET)
        members = [
            {"member_id": member, **dict(zip(TOTALS, counts, strict=True))}
            for member, counts in sorted(self._totals.items())
            if any(counts)
        ]
        bulk_insert.insert(connection, _MEMBERS, members, self._whose, _ADD_TO_MEMBER)

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
                total[0] += sign
            if answered_at is not None:
                waited = answered_at - row["created_at"]
                total[1] += sign
                total[2] += waited // SECOND * sign
                total[3] += waited % SECOND * sign

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
                self._totals[assignee][4] += sign
                self._totals[assignee][5] += sign * row["score"]


def delete_all(connection: Connection, team_id: str, environment: str | None = None) -> None:
    """Forget a team's roll-ups, in one environment or in both, as all its rows go."""
    for table in _TABLES:
        statement = delete(table).where(table.c.team_id == team_id)
        connection.execute(statement if environment is None else statement.where(table.c.environment == environment))


def rebuild(connection: Connection, scope: Scope) -> None:
    """Compute the roll-ups of an environment anew from the rows: after a large load, the cheapest way."""
    delete_all(connection, scope.team_id, scope.environment)
    for table, expected in _EXPECTED:
        connection.execute(insert(table).from_select(list(table.columns.keys()), expected), asdict(scope))


def differences(connection: Connection) -> list[str]:
    """Compare all roll-ups with the rows; return a sentence for each environment and kind that differs."""
    found = []
    for scope in _scopes(connection):
        for table, expected in _EXPECTED:
            kept = select(table).where(in_scope(table.c))
            if table is _ROLLUPS:
                kept = kept.where(table.c.width == expected.selected_columns["width"])
            if table is not NEWEST:
                kept = kept.where(_not_all_zero(table))
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


_ROLLUPS: Table = Rollup.__table__  # type: ignore[assignment]  # the declarative base types it wider
_MEMBERS: Table = MemberTotals.__table__  # type: ignore[assignment]
NEWEST: Table = NewestTicket.__table__  # type: ignore[assignment]
_TABLES = (_ROLLUPS, _MEMBERS, NEWEST)

_ZERO: ColumnElement[int] = literal_column("0", BigInteger)
_ONE: ColumnElement[int] = literal_column("1", BigInteger)


def bits(number: int) -> ColumnElement[int]:
    """Return a number of bits as part of a statement's text: PostgreSQL shifts a bigint by an integer only."""
    return literal_column(str(number), Integer)


@dataclass(frozen=True)
class Event:
    """Something that happens at an instant: rows that have it, when, and what it adds to a bucket."""

    rows: Any
    instant: Any
    adds: Mapping[str, Any]

    def each(self) -> Select[Any]:
        """Select each one of a scope: its instant, and what it adds."""
        added = (self.adds.get(name, _ZERO).label(name) for name in COUNTED)
        return select(self.instant.label("instant"), *added).where(in_scope(self.rows), self.instant.is_not(None))

    def sums(self, first: ColumnElement[int], last: ColumnElement[int]) -> Select[Any]:
        """Select what those of a scope add up to that lie between two instants, these included."""
        sums = [(func.sum(self.adds[name]) if name in self.adds else _ZERO).label(name) for name in COUNTED]
        return select(*sums).where(in_scope(self.rows), self.instant >= first, self.instant <= last)


_DROPPED = case(
    (and_(Ticket.status == literal_column(repr(TicketStatus.CLOSED.value)), Ticket.resolved_at.is_(None)), _ONE),
    else_=_ZERO,
)

EVENTS = (
    Event(Ticket, Ticket.created_at, {"tickets": _ONE, "dropped": _DROPPED}),
    Event(Ticket, Ticket.resolved_at, {"resolved": _ONE}),
    Event(Customer, Customer.created_at, {"customers": _ONE}),
    Event(NewestTicket, NewestTicket.created_at, {"newest_tickets": _ONE}),
    Event(CsatResponse, CsatResponse.submitted_at, {"responses": _ONE, "score_sum": CsatResponse.score}),
)


def _not_all_zero(table: FromClause) -> ColumnElement[bool]:
    """Return the condition that tells rows from what those that have gone left behind."""
    return or_(*(column != 0 for column in table.columns if column.name in {*COUNTED, *TOTALS}))


def _buckets(width: int, rows: Any, bucket: ColumnElement[int]) -> Select[Any]:
    return select(
        TEAM_ID.label("team_id"),
        ENVIRONMENT.label("environment"),
        bits(width).label("width"),
        bucket.label("bucket"),
        *(func.sum(rows[name]).label(name) for name in COUNTED),
    ).group_by(bucket)


def _expected_finest() -> Select[Any]:
    events = union_all(*(event.each() for event in EVENTS)).subquery().c
    return _buckets(FINEST, events, events.instant.bitwise_rshift(bits(FINEST)))


def _expected_coarser(width: int) -> Select[Any]:
    finer = _ROLLUPS.alias()
    return _buckets(width, finer.c, finer.c.bucket.bitwise_rshift(bits(STEP))).where(
        in_scope(finer.c), finer.c.width == bits(width - STEP), _not_all_zero(finer)
    )


def _expected_totals() -> Select[Any]:
    member_id = Ticket.assignee_id.label("member_id")
    theirs = (in_scope(Ticket), Ticket.assignee_id.is_not(None))
    waited = Ticket.first_response_at - Ticket.created_at
    parts = union_all(
        select(
            member_id,
            func.count(Ticket.resolved_at).label("resolved"),
            func.count(waited).label("answered"),
            func.coalesce(func.sum(waited // SECOND), 0).label("waited_seconds"),
            func.coalesce(func.sum(waited % SECOND), 0).label("waited_microseconds"),
            _ZERO.label("responses"),
            _ZERO.label("score_sum"),
        )
        .where(*theirs)
        .group_by(member_id),
        select(member_id, _ZERO, _ZERO, _ZERO, _ZERO, func.count(), func.sum(CsatResponse.score))
        .join(CsatResponse, and_(in_scope(CsatResponse), CsatResponse.ticket_id == Ticket.id))
        .where(*theirs)
        .group_by(member_id),
    ).subquery()
    sums = [func.sum(parts.c[name]).label(name) for name in TOTALS]
    return (
        select(TEAM_ID.label("team_id"), ENVIRONMENT.label("environment"), parts.c.member_id, *sums)
        .group_by(parts.c.member_id)
        .having(or_(*(total != 0 for total in sums)))
    )


_NEWEST_TICKETS = (
    select(
        TEAM_ID.label("team_id"),
        ENVIRONMENT.label("environment"),
        Ticket.customer_id,
        func.max(Ticket.created_at),
    )
    .where(in_scope(Ticket))
    .group_by(Ticket.customer_id)
)

# In the order in which they can be built: the later ones read the earlier ones.
_EXPECTED: tuple[tuple[Table, Any], ...] = (
    (NEWEST, _NEWEST_TICKETS),
    (_MEMBERS, _expected_totals()),
    (_ROLLUPS, _expected_finest()),
    *((_ROLLUPS, _expected_coarser(width)) for width in WIDTHS[1:]),
)

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
    """Return what to do about a row that is there: add the numbers. Both engines speak it."""
    key = ", ".join(column.name for column in table.primary_key)
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in names)
    return f"ON CONFLICT ({key}) DO UPDATE SET {sums}"


_ADD_TO_BUCKET = _adding(_ROLLUPS, COUNTED)
_ADD_TO_MEMBER = _adding(_MEMBERS, TOTALS)
_SET_NEWEST = "ON CONFLICT (team_id, environment, customer_id) DO UPDATE SET created_at = excluded.created_at"
