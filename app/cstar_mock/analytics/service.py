"""The two answers: each is computed by one prepared query."""

from sqlalchemy import Connection

from cstar_mock.analytics import queries
from cstar_mock.analytics.schemas import AgentStats, Csat, Customers, Overview, Tickets
from cstar_mock.contract import periods
from cstar_mock.contract.clock import MINUTE, SECOND, Instant
from cstar_mock.contract.periods import Period
from cstar_mock.store.database import Prepared
from cstar_mock.store.models import Scope

_OVERVIEW = Prepared(queries.overview())
_AGENTS = Prepared(queries.agents())
_OVERVIEW_CHANGES = Prepared(queries.overview_changes())
_AGENTS_CHANGE = Prepared(queries.agents_change())


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
    """Return the next instant at which a row enters or leaves the window that ends now; None for never."""
    window = periods.window(period, now)
    ((entering, leaving),) = _OVERVIEW_CHANGES.execute(
        connection,
        {"team_id": scope.team_id, "environment": scope.environment, "start": window.start, "now": window.end},
    )
    moments = [entering, None if leaving is None else leaving + periods.LENGTHS[period]]
    return min((moment for moment in moments if moment is not None), default=None)


def agents_hold_until(connection: Connection, scope: Scope, now: Instant) -> Instant | None:
    """Return the next instant at which a row after now begins to exist; None for never."""
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
