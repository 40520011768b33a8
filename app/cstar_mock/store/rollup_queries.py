"""The queries that compute roll-ups from rows, and the shape of the roll-ups.

Time is cut into buckets of four widths. A width is a number of bits: an instant, shifted right by it, is the
number of its bucket. A bucket is 32 of the next finer width, and the finest is 134 seconds long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Table,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from cstar_mock.contract.clock import SECOND
from cstar_mock.contract.vocabulary import TicketStatus
from cstar_mock.store.models import (
    ENVIRONMENT,
    TEAM_ID,
    CsatResponse,
    Customer,
    MemberTotals,
    NewestTicket,
    Rollup,
    Ticket,
    in_scope,
)

STEP = 5
"""By how many bits each width is more than the next finer one."""

WIDTHS = (27, 32, 37, 42)
"""Bits of an instant that a bucket leaves out: 134 seconds, 72 minutes, 38 hours, 51 days."""

FINEST = WIDTHS[0]

COUNTED = ("tickets", "dropped", "resolved", "customers", "newest_tickets", "responses", "score_sum")
"""The counts of a bucket."""


@dataclass(slots=True)
class Totals:
    """The totals of a member over all time, or a change of them.

    Attributes:
        resolved: tickets.
        answered: tickets with a first response.
        waited_seconds: until these responses: two sums, as a sum of microseconds would overflow a column.
        waited_microseconds: the rest of each wait, below a second.
        responses: CSAT responses.
        score_sum: the sum of their scores.
    """

    resolved: int = 0
    answered: int = 0
    waited_seconds: int = 0
    waited_microseconds: int = 0
    responses: int = 0
    score_sum: int = 0


TOTALS = tuple(field.name for field in fields(Totals))

ROLLUPS: Table = Rollup.__table__  # type: ignore[assignment]  # the declarative base types it wider
MEMBERS: Table = MemberTotals.__table__  # type: ignore[assignment]
NEWEST: Table = NewestTicket.__table__  # type: ignore[assignment]
TABLES = (ROLLUPS, MEMBERS, NEWEST)

_ZERO: ColumnElement[int] = literal_column("0", BigInteger)
_ONE: ColumnElement[int] = literal_column("1", BigInteger)


def bits(number: int) -> ColumnElement[int]:
    """Return a number of bits as part of a statement's text: PostgreSQL shifts a bigint by an integer only."""
    return literal_column(str(number), Integer)


@dataclass(frozen=True)
class Event:
    """A kind of event: its rows, its instant, and its additions to a bucket."""

    rows: Any
    instant: Any
    adds: Mapping[str, Any]

    def each(self) -> Select[Any]:
        """Select the events of a scope: the instant and the additions of each."""
        added = (self.adds.get(name, _ZERO).label(name) for name in COUNTED)
        return select(self.instant.label("instant"), *added).where(in_scope(self.rows), self.instant.is_not(None))

    def sums(self, first: ColumnElement[int], last: ColumnElement[int]) -> Select[Any]:
        """Select the sums of a scope's events between two instants, both included."""
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


def not_all_zero(table: FromClause) -> ColumnElement[bool]:
    """Return the condition for rows that count something: deleted rows leave zeros behind."""
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
    finer = ROLLUPS.alias()
    return _buckets(width, finer.c, finer.c.bucket.bitwise_rshift(bits(STEP))).where(
        in_scope(finer.c), finer.c.width == bits(width - STEP), not_all_zero(finer)
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


NEWEST_TICKETS = (
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
EXPECTED: tuple[tuple[Table, Any], ...] = (
    (NEWEST, NEWEST_TICKETS),
    (MEMBERS, _expected_totals()),
    (ROLLUPS, _expected_finest()),
    *((ROLLUPS, _expected_coarser(width)) for width in WIDTHS[1:]),
)
