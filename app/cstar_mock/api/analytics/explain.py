"""Where a figure comes from: its definition, the SQL that selects its rows, and their ids."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, bindparam, select
from sqlalchemy.engine.default import DefaultDialect

from cstar_mock.api.analytics import metrics, periods, service
from cstar_mock.api.analytics.metrics import Metric
from cstar_mock.api.analytics.periods import Period, Window
from cstar_mock.clock import MINUTE, Instant
from cstar_mock.models import CsatResponse, Scope, Ticket, in_scope

# The same words whichever the engine, with parameters by name: a driver's own way to write them runs nowhere else.
_PLAIN = DefaultDialect(paramstyle="named")
_MEMBER: ColumnElement[str] = bindparam("member_id", type_=String)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One figure.

    Attributes:
        figure: its path in the answer.
        value: what the API answers.
        definition: its meaning.
        source: `doc`, `site` or `ours`.
        sql: the statement that selects the rows that count; `:name` is a parameter, on every engine.
        parameters: the statement's parameters.
        ids: the ids of those rows: there are as many as the figure says, or the figure is the mean of `values`.
        values: for a mean, what is averaged, in the unit of the figure, in the order of the ids.
    """

    figure: str
    value: float | None
    definition: str
    source: str
    sql: str
    parameters: dict[str, Any]
    ids: list[str]
    values: list[float] | None = None


def explain_overview(
    connection: Connection, scope: Scope, period: Period, now: Instant, empty_mean: float | None = None
) -> list[Explanation]:
    """Explain every figure of the overview."""
    given = service.overview(connection, scope, period, now, empty_mean)
    window = periods.window(period, now)
    csat = metrics.CSAT_RESPONSES
    explained: list[tuple[Metric, float | None, Select[Any]]] = [
        (metrics.TICKETS_TOTAL, given.tickets.total, _rows(metrics.TICKETS_TOTAL)),
        (metrics.TICKETS_OPEN, given.tickets.open, _rows(metrics.TICKETS_OPEN)),
        (metrics.TICKETS_RESOLVED, given.tickets.resolved, _rows(metrics.TICKETS_RESOLVED)),
        (metrics.CUSTOMERS_TOTAL, given.customers.total, _rows(metrics.CUSTOMERS_TOTAL)),
        (
            metrics.CUSTOMERS_ACTIVE,
            given.customers.active,
            _rows(metrics.CUSTOMERS_ACTIVE, Ticket.customer_id).distinct(),
        ),
        (metrics.CUSTOMERS_NEW, given.customers.new, _rows(metrics.CUSTOMERS_NEW)),
        (metrics.CSAT_AVERAGE, given.csat.average, _rows(csat, CsatResponse.id, CsatResponse.score)),
        (csat, given.csat.totalResponses, _rows(csat)),
    ]
    return [
        _explanation(connection, metric, value, statement, _sql(statement), _parameters(scope, window))
        for metric, value, statement in explained
    ]


def explain_agents(
    connection: Connection, scope: Scope, now: Instant, empty_mean: float | None = None
) -> dict[str, list[Explanation]]:
    """Explain every figure of every agent, by the member's id."""
    explained = {}
    # Once for all agents: to write a statement takes longer than to execute it.
    sqls = [_sql(statement) for statement in (_RESOLVED_BY, _ANSWERED_BY, _SCORED_OF)]
    for agent in service.agents(connection, scope, now, empty_mean):
        parameters = {
            "team_id": scope.team_id,
            "environment": scope.environment,
            "now": now,
            "member_id": agent.userId,
        }
        figures = (
            (metrics.AGENT_RESOLVED, agent.ticketsResolved, _RESOLVED_BY),
            (metrics.AGENT_ANSWERED, agent.avgResponseTime, _ANSWERED_BY),
            (metrics.AGENT_RESPONSES, agent.csatAverage, _SCORED_OF),
        )
        explained[agent.userId] = [
            _explanation(connection, metric, value, statement, sql, parameters)
            for (metric, value, statement), sql in zip(figures, sqls, strict=True)
        ]
    return explained


def _rows(metric: Metric, *columns: Any) -> Select[Any]:
    """Return the statement that selects the rows that count for a metric."""
    selected = columns or (metric.rows.__table__.c.id,)
    return select(*selected).where(in_scope(metric.rows), metric.condition).order_by(selected[0])


_RESOLVED_BY = _rows(metrics.AGENT_RESOLVED).where(Ticket.assignee_id == _MEMBER)
_ANSWERED_BY = _rows(
    metrics.AGENT_ANSWERED, Ticket.id, (Ticket.first_response_at - Ticket.created_at).label("waited")
).where(Ticket.assignee_id == _MEMBER)
_SCORED_OF = (
    _rows(metrics.AGENT_RESPONSES, CsatResponse.id, CsatResponse.score)
    .join(Ticket, metrics.TICKET_OF_RESPONSE)
    .where(Ticket.assignee_id == _MEMBER)
)


def _parameters(scope: Scope, window: Window) -> dict[str, Any]:
    return {"team_id": scope.team_id, "environment": scope.environment, "start": window.start, "now": window.end}


def _sql(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=_PLAIN))


def _explanation(
    connection: Connection,
    metric: Metric,
    value: float | None,
    statement: Select[Any],
    sql: str,
    parameters: dict[str, Any],
) -> Explanation:
    rows = connection.execute(statement, parameters).all()
    unit = MINUTE if metric is metrics.AGENT_ANSWERED else 1
    return Explanation(
        figure=metric.name,
        value=value,
        definition=metric.definition,
        source=metric.source,
        sql=sql,
        parameters={name: given for name, given in parameters.items() if name in sql},
        ids=[row[0] for row in rows],
        values=[row[1] / unit for row in rows] if len(statement.selected_columns) > 1 else None,
    )
