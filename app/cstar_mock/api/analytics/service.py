"""The two answers, each computed by one prepared statement."""

from sqlalchemy import ColumnElement, Connection, ScalarSelect, case, distinct, func, select

from cstar_mock.api.analytics import metrics, periods
from cstar_mock.api.analytics.metrics import Metric, in_scope
from cstar_mock.api.analytics.periods import Period
from cstar_mock.api.analytics.schemas import AgentStats, Csat, Customers, Overview, Tickets
from cstar_mock.clock import MINUTE, Instant
from cstar_mock.models import CsatResponse, Member, Scope, Ticket


def _figure(metric: Metric, measure: ColumnElement[int] = func.count()) -> ScalarSelect[int]:  # noqa: B008  (stateless)
    return select(measure).select_from(metric.rows).where(in_scope(metric.rows), metric.condition).scalar_subquery()


_OVERVIEW = select(
    _figure(metrics.TICKETS_TOTAL),
    _figure(metrics.TICKETS_OPEN),
    _figure(metrics.TICKETS_RESOLVED),
    _figure(metrics.CUSTOMERS_TOTAL),
    _figure(metrics.CUSTOMERS_ACTIVE, func.count(distinct(Ticket.customer_id))),
    _figure(metrics.CUSTOMERS_NEW),
    _figure(metrics.CSAT_RESPONSES, func.coalesce(func.sum(CsatResponse.score), 0)),
    _figure(metrics.CSAT_RESPONSES),
)

_response_time = Ticket.first_response_at - Ticket.created_at
_by_assignee = (
    select(
        Ticket.assignee_id,
        func.count(case((metrics.AGENT_RESOLVED.condition, 1))).label("resolved"),
        func.coalesce(func.sum(case((metrics.AGENT_ANSWERED.condition, _response_time))), 0).label("waited"),
        func.count(case((metrics.AGENT_ANSWERED.condition, 1))).label("answered"),
    )
    .where(in_scope(Ticket), Ticket.assignee_id.is_not(None))
    .group_by(Ticket.assignee_id)
    .subquery()
)
_scores_by_assignee = (
    select(Ticket.assignee_id, func.sum(CsatResponse.score).label("sum"), func.count().label("count"))
    .select_from(CsatResponse)
    .join(Ticket, metrics.TICKET_OF_RESPONSE)
    .where(in_scope(CsatResponse), metrics.AGENT_RESPONSES.condition, Ticket.assignee_id.is_not(None))
    .group_by(Ticket.assignee_id)
    .subquery()
)
_AGENTS = (
    select(
        Member.id,
        Member.name,
        func.coalesce(_by_assignee.c.resolved, 0),
        func.coalesce(_by_assignee.c.waited, 0),
        func.coalesce(_by_assignee.c.answered, 0),
        func.coalesce(_scores_by_assignee.c.sum, 0),
        func.coalesce(_scores_by_assignee.c.count, 0),
    )
    .outerjoin(_by_assignee, _by_assignee.c.assignee_id == Member.id)
    .outerjoin(_scores_by_assignee, _scores_by_assignee.c.assignee_id == Member.id)
    .where(in_scope(Member), metrics.CURRENT_MEMBERS)
)


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
    total, open_, resolved, customers, active, new, score_sum, responses = connection.execute(
        _OVERVIEW,
        {
            "team_id": scope.team_id,
            "environment": scope.environment,
            "start": window.start,
            "now": window.end,
        },
    ).one()
    return Overview(
        period=period,
        tickets=Tickets(total=total, open=open_, resolved=resolved),
        customers=Customers(total=customers, active=active, new=new),
        csat=Csat(average=mean(score_sum, responses, empty_mean), totalResponses=responses),
    )


def agents(connection: Connection, scope: Scope, now: Instant, empty_mean: float | None = None) -> list[AgentStats]:
    """Compute every current member's figures over all time.

    They are ordered by tickets resolved, most first, then by name, then by id [ours]; sorted here, by code point,
    as engines differ in how they collate names.
    """
    rows = connection.execute(_AGENTS, {"team_id": scope.team_id, "environment": scope.environment, "now": now}).all()
    return [
        AgentStats(
            userId=member_id,
            name=name,
            ticketsResolved=resolved,
            avgResponseTime=mean(waited, answered * MINUTE, empty_mean),
            csatAverage=mean(score_sum, responses, empty_mean),
        )
        for member_id, name, resolved, waited, answered, score_sum, responses in sorted(
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
