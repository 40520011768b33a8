"""The queries of the two answers, on the roll-ups, and of the instant at which an answer may change.

`metrics` has the meaning of each figure as a plain count of rows. The queries give the same numbers at a constant cost:
`tests/properties` compares both.
"""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, Select, Subquery, and_, func, select, union_all
from sqlalchemy.orm import aliased

from cstar_mock.analytics import metrics
from cstar_mock.analytics.metrics import NOW, START
from cstar_mock.contract.clock import SECOND
from cstar_mock.store.models import (
    CsatResponse,
    Customer,
    Member,
    MemberTotals,
    NewestTicket,
    Rollup,
    Ticket,
    in_scope,
)
from cstar_mock.store.rollup_queries import COUNTED, EVENTS, FINEST, STEP, WIDTHS, bits

# Asked for each member, so that an index that leads with the assignee serves the query: one index less to write.
_ANSWERING = aliased(Member)
_ANSWERED_AFTER_NOW = and_(in_scope(Ticket), Ticket.assignee_id == _ANSWERING.id, Ticket.first_response_at > NOW)


def overview() -> Select[Any]:
    """Return the query of an overview.

    Its columns: tickets (total, open, resolved), customers (total, active, new), the sum of the scores, their number.
    Counts of a window are the counts up to its end less the counts up to its start.
    """
    by_now, by_start = _up_to(NOW).c, _up_to(START).c
    return select(
        by_now.tickets - by_start.tickets,
        by_now.tickets - by_now.dropped - by_now.resolved,
        by_now.resolved - by_start.resolved,
        by_now.customers,
        by_now.newest_tickets - by_start.newest_tickets + _active_with_later_tickets(),
        by_now.customers - by_start.customers,
        by_now.score_sum - by_start.score_sum,
        by_now.responses - by_start.responses,
    )


def agents() -> Select[Any]:
    """Return the query of the agents.

    Its columns: id, name, resolved tickets, seconds and microseconds waited, answered tickets, the sum of the scores,
    their number. A member's totals contain rows after now if the clock was moved back: those are subtracted.
    """
    resolved, answered, scored = _resolved_after_now(), _answered_after_now(), _scored_after_now()
    return (
        select(
            Member.id,
            Member.name,
            _less(MemberTotals.resolved, resolved.c.resolved),
            _less(MemberTotals.waited_seconds, answered.c.seconds),
            _less(MemberTotals.waited_microseconds, answered.c.microseconds),
            _less(MemberTotals.answered, answered.c.answered),
            _less(MemberTotals.score_sum, scored.c.score_sum),
            _less(MemberTotals.responses, scored.c.responses),
        )
        .outerjoin(MemberTotals, and_(in_scope(MemberTotals), MemberTotals.member_id == Member.id))
        .outerjoin(resolved, resolved.c.assignee_id == Member.id)
        .outerjoin(answered, answered.c.assignee_id == Member.id)
        .outerjoin(scored, scored.c.assignee_id == Member.id)
        .where(in_scope(Member), metrics.CURRENT_MEMBERS)
    )


def overview_changes() -> Select[Any]:
    """Return the query of the next instants at which a row enters the window, and at which one leaves it."""
    moments = (
        (Ticket, Ticket.created_at),
        (Ticket, Ticket.resolved_at),
        (Customer, Customer.created_at),
        (CsatResponse, CsatResponse.submitted_at),
    )
    entering = union_all(*(_next(rows, instant, NOW) for rows, instant in moments)).subquery()
    leaving = union_all(*(_next(rows, instant, START) for rows, instant in moments)).subquery()
    return select(
        select(func.min(entering.c.instant)).scalar_subquery(), select(func.min(leaving.c.instant)).scalar_subquery()
    )


def agents_change() -> Select[Any]:
    """Return the query of the next instant at which a row that the agents' figures count begins to exist."""
    first_answer = select(func.min(Ticket.first_response_at)).where(_ANSWERED_AFTER_NOW).scalar_subquery()
    arriving = union_all(
        _next(Ticket, Ticket.resolved_at, NOW),
        select(func.min(first_answer)).where(in_scope(_ANSWERING)),
        _next(CsatResponse, CsatResponse.submitted_at, NOW),
        _next(Member, Member.created_at, NOW),
        _next(Member, Member.removed_at, NOW),
    ).subquery()
    return select(func.min(arriving.c.instant))


def _up_to(instant: ColumnElement[int]) -> FromClause:
    """Return one row: the counts of everything up to an instant.

    It sums the coarsest buckets that end before the instant, then of each finer width the buckets after those, and last
    the rows of the one finest bucket that contains the instant.
    """
    parts = []
    for width in WIDTHS:
        whole = [Rollup.width == bits(width), Rollup.bucket < instant.bitwise_rshift(bits(width))]
        if width != WIDTHS[-1]:
            # The buckets before this one are part of a coarser bucket, which is counted already.
            whole.append(Rollup.bucket >= instant.bitwise_rshift(bits(width + STEP)).bitwise_lshift(bits(STEP)))
        sums = [func.sum(column).label(column.name) for column in _counted(Rollup.__table__.c)]
        parts.append(select(*sums).where(in_scope(Rollup), *whole))
    begins = instant.bitwise_rshift(bits(FINEST)).bitwise_lshift(bits(FINEST))
    parts += [event.sums(begins, instant) for event in EVENTS]
    return select(
        *(func.coalesce(func.sum(column), 0).label(column.name) for column in _counted(union_all(*parts).subquery().c))
    ).subquery()


def _counted(columns: Any) -> list[ColumnElement[Any]]:
    return [columns[name] for name in COUNTED]


def _active_with_later_tickets() -> ScalarSelect[int]:
    """Return the number of customers with a ticket in the window whose newest ticket is after now.

    Their newest ticket does not count for the window. There are such customers only if the team's clock was moved back.
    """
    in_the_window = select(Ticket.id).where(
        in_scope(Ticket), Ticket.customer_id == NewestTicket.customer_id, metrics.TICKETS_TOTAL.condition
    )
    return (
        select(func.count())
        .select_from(NewestTicket)
        .where(in_scope(NewestTicket), NewestTicket.created_at > NOW, in_the_window.exists())
        .scalar_subquery()
    )


def _resolved_after_now() -> Subquery:
    """Return by member: the tickets resolved after now."""
    return (
        select(Ticket.assignee_id, func.count().label("resolved"))
        .where(in_scope(Ticket), Ticket.assignee_id.is_not(None), Ticket.resolved_at > NOW)
        .group_by(Ticket.assignee_id)
        .subquery()
    )


def _answered_after_now() -> Subquery:
    """Return by member: the tickets first answered after now, and the time until then."""
    waited = Ticket.first_response_at - Ticket.created_at
    return (
        select(
            _ANSWERING.id.label("assignee_id"),
            func.count(Ticket.id).label("answered"),
            func.sum(waited // SECOND).label("seconds"),
            func.sum(waited % SECOND).label("microseconds"),
        )
        .outerjoin(Ticket, _ANSWERED_AFTER_NOW)
        .where(in_scope(_ANSWERING))
        .group_by(_ANSWERING.id)
        .subquery()
    )


def _scored_after_now() -> Subquery:
    """Return by member: the scores submitted after now."""
    return (
        select(Ticket.assignee_id, func.sum(CsatResponse.score).label("score_sum"), func.count().label("responses"))
        .select_from(CsatResponse)
        .join(Ticket, metrics.TICKET_OF_RESPONSE)
        .where(in_scope(CsatResponse), CsatResponse.submitted_at > NOW, Ticket.assignee_id.is_not(None))
        .group_by(Ticket.assignee_id)
        .subquery()
    )


def _less(total: Any, after_now: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(total, 0) - func.coalesce(after_now, 0)


def _next(rows: Any, instant: Any, after: ColumnElement[int]) -> Select[Any]:
    return select(func.min(instant).label("instant")).where(in_scope(rows), instant > after)
