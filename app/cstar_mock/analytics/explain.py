"""Where a figure comes from: its definition, the SQL that selects its rows, and their ids."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Select, String, bindparam, func, select
from sqlalchemy.engine.default import DefaultDialect

from cstar_mock import bounds
from cstar_mock.analytics import metrics, service
from cstar_mock.analytics.metrics import Metric
from cstar_mock.contract import periods
from cstar_mock.contract.clock import MINUTE, Instant
from cstar_mock.contract.periods import Period, Window
from cstar_mock.store.models import CsatResponse, Scope, Ticket, in_scope

# The same words whichever the engine, with parameters by name: a driver's own way to write them runs nowhere else.
_PLAIN = DefaultDialect(paramstyle="named")
_MEMBER: ColumnElement[str] = bindparam("member_id", type_=String)
_MEMBERS: ColumnElement[str] = bindparam("member_ids", type_=String, expanding=True)
_LIMIT: ColumnElement[int] = bindparam("most_ids", type_=BigInteger)


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
        total: how many rows count: as many as the figure says, or those whose values have it as their mean.
        ids: the ids of the first of those rows, in the order of the ids.
        values: for a mean, what is averaged, in the unit of the figure, for each of the ids.
    """

    figure: str
    value: float | None
    definition: str
    source: str
    sql: str
    parameters: dict[str, Any]
    total: int
    ids: list[str]
    values: list[float] | None = None


def explain_overview(
    connection: Connection, scope: Scope, period: Period, now: Instant, limit: int, empty_mean: float | None = None
) -> list[Explanation]:
    """Explain every figure of the overview, with at most `limit` ids each."""
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
    parameters = _parameters(scope, window)
    return [
        _explanation(
            metric,
            value,
            _sql(statement),
            parameters,
            connection.scalar(_count_of(statement), parameters) or 0,
            connection.execute(statement.limit(_LIMIT), parameters | {"most_ids": limit}).all(),
        )
        for metric, value, statement in explained
    ]


def explain_agents(
    connection: Connection, scope: Scope, now: Instant, limit: int, offset: int = 0, empty_mean: float | None = None
) -> tuple[dict[str, list[Explanation]], int]:
    """Explain every figure of some agents, with at most `limit` ids each.

    Returns:
        The explanations by the member's id, for as many agents after the first `offset` as the bounds allow; and how
        many agents there are.
    """
    agents = service.agents(connection, scope, now, empty_mean)
    parameters = {"team_id": scope.team_id, "environment": scope.environment, "now": now}
    page = agents[offset : offset + bounds.MOST_EXPLAINED_AGENTS]
    # A statement for all agents, not one for each: an engine may read all rows of the team for each statement.
    whose = parameters | {"member_ids": [agent.userId for agent in page]}
    totals: list[dict[Any, int]] = [
        {row[0]: row[1] for row in connection.execute(figure.totals, whose)} for figure in _AGENT_FIGURES
    ]
    page = page[: _fitting([sum(min(total.get(agent.userId, 0), limit) for total in totals) for agent in page])]
    whose = parameters | {"member_ids": [agent.userId for agent in page], "most_ids": limit}
    rows = [_by_member(connection.execute(figure.first_rows, whose).all()) for figure in _AGENT_FIGURES]
    # Once for all agents: to write a statement takes longer than to execute it.
    sqls = [_sql(figure.rows_of_member) for figure in _AGENT_FIGURES]
    explained = {
        agent.userId: [
            _explanation(
                figure.metric,
                getattr(agent, figure.metric.name),
                sql,
                parameters | {"member_id": agent.userId},
                total.get(agent.userId, 0),
                theirs.get(agent.userId, []),
            )
            for figure, sql, total, theirs in zip(_AGENT_FIGURES, sqls, totals, rows, strict=True)
        ]
        for agent in page
    }
    return explained, len(agents)


def _fitting(sizes: Sequence[int]) -> int:
    """Return how many agents with these numbers of ids fit in an answer: at least one."""
    return max(1, sum(size <= bounds.MOST_EXPLAINED_AGENT_IDS for size in accumulate(sizes)))


def _by_member(rows: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for member_id, *row in rows:
        found[member_id].append(row)
    return found


def _rows(metric: Metric, *columns: Any) -> Select[Any]:
    """Return the statement that selects the rows that count for a metric."""
    selected = columns or (metric.rows.__table__.c.id,)
    return select(*selected).where(in_scope(metric.rows), metric.condition).order_by(selected[0])


def _sql(statement: Select[Any]) -> str:
    return str(statement.compile(dialect=_PLAIN))


def _count_of(statement: Select[Any]) -> Select[Any]:
    return select(func.count()).select_from(statement.order_by(None).subquery())


class _AgentFigure:
    """The statements of a figure of agents.

    Attributes:
        rows_of_member: selects the rows of one member; its SQL is shown.
        totals: counts the rows of each of several members.
        first_rows: selects the first rows of each of several members.
    """

    def __init__(self, metric: Metric, rows: Select[Any]) -> None:
        self.metric = metric
        self.rows_of_member = rows.where(Ticket.assignee_id == _MEMBER)
        theirs = rows.order_by(None).where(Ticket.assignee_id.in_(_MEMBERS))
        self.totals = theirs.with_only_columns(Ticket.assignee_id, func.count(), maintain_column_froms=True).group_by(
            Ticket.assignee_id
        )
        id_, *values = rows.selected_columns
        place = func.row_number().over(partition_by=Ticket.assignee_id, order_by=id_).label("place")
        ranked = theirs.with_only_columns(
            Ticket.assignee_id, id_, *values, place, maintain_column_froms=True
        ).subquery()
        shown = [column for column in ranked.c if column.name != "place"]
        self.first_rows = select(*shown).where(ranked.c.place <= _LIMIT).order_by(*shown[:2])


_AGENT_FIGURES = (
    _AgentFigure(metrics.AGENT_RESOLVED, _rows(metrics.AGENT_RESOLVED)),
    _AgentFigure(
        metrics.AGENT_ANSWERED,
        _rows(metrics.AGENT_ANSWERED, Ticket.id, (Ticket.first_response_at - Ticket.created_at).label("waited")),
    ),
    _AgentFigure(
        metrics.AGENT_RESPONSES,
        _rows(metrics.AGENT_RESPONSES, CsatResponse.id, CsatResponse.score).join(Ticket, metrics.TICKET_OF_RESPONSE),
    ),
)


def _parameters(scope: Scope, window: Window) -> dict[str, Any]:
    return {"team_id": scope.team_id, "environment": scope.environment, "start": window.start, "now": window.end}


def _explanation(
    metric: Metric,
    value: float | None,
    sql: str,
    parameters: dict[str, Any],
    total: int,
    rows: Sequence[Any],
) -> Explanation:
    unit = MINUTE if metric is metrics.AGENT_ANSWERED else 1
    is_mean = metric in (metrics.CSAT_AVERAGE, metrics.AGENT_ANSWERED, metrics.AGENT_RESPONSES)
    return Explanation(
        figure=metric.name,
        value=value,
        definition=metric.definition,
        source=metric.source,
        sql=sql,
        parameters={name: given for name, given in parameters.items() if name in sql},
        total=total,
        ids=[row[0] for row in rows],
        values=[row[1] / unit for row in rows] if is_mean else None,
    )
