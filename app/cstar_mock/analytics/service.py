"""The two answers, each computed by one prepared statement from the roll-ups.

What each figure means stands in `metrics`, as the plain count that no figure may ever differ from.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, select, union_all
from sqlalchemy.orm import aliased

from cstar_mock.analytics import metrics
from cstar_mock.analytics.metrics import NOW, START
from cstar_mock.analytics.schemas import AgentStats, Csat, Customers, Overview, Tickets
from cstar_mock.contract import periods
from cstar_mock.contract.clock import MINUTE, SECOND, Instant
from cstar_mock.contract.periods import Period
from cstar_mock.store.database import Prepared
from cstar_mock.store.models import (
    CsatResponse,
    Customer,
    Member,
    MemberTotals,
    NewestTicket,
    Rollup,
    Scope,
    Ticket,
    in_scope,
)
from cstar_mock.store.rollups import COUNTED, EVENTS, FINEST, STEP, WIDTHS, bits


def _up_to(instant: ColumnElement[int]) -> FromClause:
    """Return one row: what happened up to an instant.

    That is the coarsest buckets that ended before it, of each finer width the buckets after those, and the rows of the
    one fine bucket that the instant lies in.
    """
    parts = []
    for width in WIDTHS:
        whole = [Rollup.width == bits(width), Rollup.bucket < instant.bitwise_rshift(bits(width))]
        if width != WIDTHS[-1]:
            whole.append(
                Rollup.bucket >= instant.bitwise_rshift(bits(width + STEP)).bitwise_lshift(bits(STEP)),
            )
        sums = [func.sum(column).label(column.name) for column in _counted(Rollup.__table__.c)]
        parts.append(select(*sums).where(in_scope(Rollup), *whole))
    begins = instant.bitwise_rshift(bits(FINEST)).bitwise_lshift(bits(FINEST))
    parts += [event.sums(begins, instant) for event in EVENTS]
    return select(
        *(func.coalesce(func.sum(column), 0).label(column.name) for column in _counted(union_all(*parts).subquery().c))
    ).subquery()


def _counted(columns: Any) -> list[ColumnElement[Any]]:
    return [columns[name] for name in COUNTED]


_by_now = _up_to(NOW).c
_by_start = _up_to(START).c

# Who wrote in the window, and again after now. Nobody did, unless the clock was moved back.
_active_and_newer = (
    select(func.count())
    .select_from(NewestTicket)
    .where(
        in_scope(NewestTicket),
        NewestTicket.created_at > NOW,
        select(Ticket.id)
        .where(in_scope(Ticket), Ticket.customer_id == NewestTicket.customer_id, metrics.TICKETS_TOTAL.condition)
        .exists(),
    )
    .scalar_subquery()
)

_OVERVIEW = Prepared(
    select(
        _by_now.tickets - _by_start.tickets,
        _by_now.tickets - _by_now.dropped - _by_now.resolved,
        _by_now.resolved - _by_start.resolved,
        _by_now.customers,
        _by_now.newest_tickets - _by_start.newest_tickets + _active_and_newer,
        _by_now.customers - _by_start.customers,
        _by_now.score_sum - _by_start.score_sum,
        _by_now.responses - _by_start.responses,
    )
)


def _after_now(*measures: ColumnElement[Any], condition: ColumnElement[bool]) -> FromClause:
    """Return by member what its totals contain of rows that do not exist yet: nothing, unless the clock was moved."""
    return (
        select(Ticket.assignee_id, *measures)
        .where(in_scope(Ticket), Ticket.assignee_id.is_not(None), condition)
        .group_by(Ticket.assignee_id)
        .subquery()
    )


_waited = Ticket.first_response_at - Ticket.created_at
_resolved_later = _after_now(func.count().label("resolved"), condition=Ticket.resolved_at > NOW).c
# Asked for each member, as an index that leads with the assignee serves it: one index less for every write to keep.
_who = aliased(Member)
_answered_after_now = and_(in_scope(Ticket), Ticket.assignee_id == _who.id, Ticket.first_response_at > NOW)
_answered_later = (
    select(
        _who.id.label("assignee_id"),
        func.count(Ticket.id).label("answered"),
        func.sum(_waited // SECOND).label("seconds"),
        func.sum(_waited % SECOND).label("microseconds"),
    )
    .outerjoin(Ticket, _answered_after_now)
    .where(in_scope(_who))
    .group_by(_who.id)
    .subquery()
    .c
)
_scored_later = (
    select(Ticket.assignee_id, func.sum(CsatResponse.score).label("score_sum"), func.count().label("responses"))
    .select_from(CsatResponse)
    .join(Ticket, metrics.TICKET_OF_RESPONSE)
    .where(in_scope(CsatResponse), CsatResponse.submitted_at > NOW, Ticket.assignee_id.is_not(None))
    .group_by(Ticket.assignee_id)
    .subquery()
    .c
)

_AGENTS = Prepared(
    select(
        Member.id,
        Member.name,
        func.coalesce(MemberTotals.resolved, 0) - func.coalesce(_resolved_later.resolved, 0),
        func.coalesce(MemberTotals.waited_seconds, 0) - func.coalesce(_answered_later.seconds, 0),
        func.coalesce(MemberTotals.waited_microseconds, 0) - func.coalesce(_answered_later.microseconds, 0),
        func.coalesce(MemberTotals.answered, 0) - func.coalesce(_answered_later.answered, 0),
        func.coalesce(MemberTotals.score_sum, 0) - func.coalesce(_scored_later.score_sum, 0),
        func.coalesce(MemberTotals.responses, 0) - func.coalesce(_scored_later.responses, 0),
    )
    .outerjoin(MemberTotals, and_(in_scope(MemberTotals), MemberTotals.member_id == Member.id))
    .outerjoin(_resolved_later.assignee_id.table, _resolved_later.assignee_id == Member.id)
    .outerjoin(_answered_later.assignee_id.table, _answered_later.assignee_id == Member.id)
    .outerjoin(_scored_later.assignee_id.table, _scored_later.assignee_id == Member.id)
    .where(in_scope(Member), metrics.CURRENT_MEMBERS)
)


def _next(rows: Any, instant: Any, after: ColumnElement[int]) -> Select[Any]:
    return select(func.min(instant).label("instant")).where(in_scope(rows), instant > after)


_MOMENTS = (
    (Ticket, Ticket.created_at),
    (Ticket, Ticket.resolved_at),
    (Customer, Customer.created_at),
    (CsatResponse, CsatResponse.submitted_at),
)
_entering = union_all(*(_next(rows, instant, NOW) for rows, instant in _MOMENTS)).subquery()
_leaving = union_all(*(_next(rows, instant, START) for rows, instant in _MOMENTS)).subquery()
_OVERVIEW_CHANGES = Prepared(
    select(
        select(func.min(_entering.c.instant)).scalar_subquery(), select(func.min(_leaving.c.instant)).scalar_subquery()
    )
)
_arriving = union_all(
    _next(Ticket, Ticket.resolved_at, NOW),
    select(func.min(select(func.min(Ticket.first_response_at)).where(_answered_after_now).scalar_subquery())).where(
        in_scope(_who)
    ),
    _next(CsatResponse, CsatResponse.submitted_at, NOW),
    _next(Member, Member.created_at, NOW),
    _next(Member, Member.removed_at, NOW),
).subquery()
_AGENTS_CHANGE = Prepared(select(func.min(_arriving.c.instant)))


def overview(
    connection: Connection, scope: Scope, period: Period, now: Instant, empty_mean: float | None = None
) -> Overview:
    """Compute the overview of a period that ends now.

    Args:
        connection: the store.
        scope: whose rows.
        period: how far to look back.
        now: the team's present instant.
        empty_mean: what a mean over nothing is.
    """
    window = periods.window(period, now)
    (row,) = _OVERVIEW.execute(
        connection,
        {"team_id": scope.team_id, "environment": scope.environment, "start": window.start, "now": window.end},
    )
    total, open_, resolved, customers, active, new, score_sum, responses = map(int, row)
    return Overview(
        period=period,
        tickets=Tickets(total=total, open=open_, resolved=resolved),
        customers=Customers(total=customers, active=active, new=new),
        csat=Csat(average=mean(score_sum, responses, empty_mean), totalResponses=responses),
    )


def overview_holds_until(connection: Connection, scope: Scope, period: Period, now: Instant) -> Instant | None:
    """Return when a row enters the window that ends now, or leaves it, as time goes by; None for never."""
    window = periods.window(period, now)
    ((entering, leaving),) = _OVERVIEW_CHANGES.execute(
        connection,
        {"team_id": scope.team_id, "environment": scope.environment, "start": window.start, "now": window.end},
    )
    moments = [entering, None if leaving is None else leaving + periods.LENGTHS[period]]
    return min((moment for moment in moments if moment is not None), default=None)


def agents_hold_until(connection: Connection, scope: Scope, now: Instant) -> Instant | None:
    """Return when a row that is stamped after now begins to exist; None for never."""
    ((arriving,),) = _AGENTS_CHANGE.execute(
        connection, {"team_id": scope.team_id, "environment": scope.environment, "now": now}
    )
    return None if arriving is None else int(arriving)


def agents(connection: Connection, scope: Scope, now: Instant, empty_mean: float | None = None) -> list[AgentStats]:
    """Compute every current member's figures over all time.

    They are ordered by tickets resolved, most first, then by name, then by id [ours]; sorted here, by code point,
    as engines differ in how they collate names.
    """
    rows = _AGENTS.execute(connection, {"team_id": scope.team_id, "environment": scope.environment, "now": now})
    return [
        AgentStats(
            userId=member_id,
            name=name,
            ticketsResolved=resolved,
            avgResponseTime=mean(int(seconds) * SECOND + int(microseconds), answered * MINUTE, empty_mean),
            csatAverage=mean(score_sum, responses, empty_mean),
        )
        for member_id, name, resolved, seconds, microseconds, answered, score_sum, responses in sorted(
            rows, key=lambda row: (-row[2], row[1], row[0])
        )
    ]


def mean(total: int, count: int, empty: float | None) -> float | None:
    """Return `total / count` rounded half up to one decimal, or `empty` if there is nothing to average.

    Whole numbers decide every digit; the float at the end is only how JSON writes it.
    """
    if not count:
        return empty
    return (20 * int(total) + count) // (2 * count) / 10
