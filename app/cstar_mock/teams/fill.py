"""Filling a team with rows: explicit ones, from recipes, or built to give answers."""

from collections.abc import Callable, Iterator

from pydantic.alias_generators import to_camel
from sqlalchemy import Connection

from cstar_mock.analytics import service
from cstar_mock.contract import ids
from cstar_mock.contract.clock import Instant, TeamClock, parse_instant, parse_moment
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.datasets import answers
from cstar_mock.datasets.format import Answers, EnvironmentData, TeamContent
from cstar_mock.datasets.generate import Numbers, generate
from cstar_mock.datasets.problems import DatasetError, Location, Problem, within
from cstar_mock.store.models import Scope
from cstar_mock.store.rows import Rows, RowsRefused, create, insert_rows, large_load, ticket

Progress = Callable[[int], None]
"""Called with a number of rows."""


def fill_team(connection: Connection, team_id: str, team: TeamContent, add: Progress) -> None:
    """Insert the rows of both environments.

    Raises:
        DatasetError: the rows, or the figures, contradict each other.
    """
    now = TeamClock(None if team.clock is None else parse_instant(team.clock)).now()
    for environment, data in ((Environment.LIVE, team.live), (Environment.TEST, team.test)):
        with within(environment.value):
            fill(connection, Scope(team_id, environment.value), data, now, add)


def fill(connection: Connection, scope: Scope, data: EnvironmentData, now: Instant, add: Progress) -> None:
    """Insert the rows of one environment, explicit, from recipes, or built to give answers.

    Raises:
        DatasetError: the rows, or the figures, contradict each other.
    """
    try:
        _fill(connection, scope, data, now, add)
    except DatasetError:
        raise
    except ValueError as error:  # a time that is relative to a clock near the end of the years
        raise DatasetError([Problem((), str(error))]) from None


def _fill(connection: Connection, scope: Scope, data: EnvironmentData, now: Instant, add: Progress) -> None:
    if data.answers is not None:
        with within("answers"):
            add(fill_with_answers(connection, scope, data.answers, now))
        return
    _add_explicit(connection, scope, _explicit(data, now))
    add(len(data.members) + len(data.customers) + len(data.tickets) + len(data.csat_responses))
    if data.recipes:
        with large_load(connection, scope, sum(recipe.tickets for recipe in data.recipes)) as insert_some:
            _follow_recipes(data, now, insert_some, add)


def _follow_recipes(data: EnvironmentData, now: Instant, insert_some: Callable[[Rows], None], add: Progress) -> None:
    """Insert the rows of the recipes."""
    numbers = Numbers(len(data.members) + 1, len(data.customers) + 1, len(data.tickets) + 1)
    for index, recipe in enumerate(data.recipes):
        with within("recipes", index):
            for rows in generate(recipe, now, numbers):
                insert_some(rows)
                add(len(rows))
                numbers = Numbers(
                    numbers.members + len(rows.members),
                    numbers.customers + len(rows.customers),
                    numbers.tickets + len(rows.tickets),
                )


def fill_with_answers(connection: Connection, scope: Scope, wanted: Answers, now: Instant) -> int:
    """Insert rows that give these answers at an instant; return their number.

    Raises:
        DatasetError: the figures contradict each other.
    """
    rows = answers.build(wanted, now)
    insert_rows(connection, scope, rows)
    _verify(connection, scope, wanted, now)
    return len(rows)


def _verify(connection: Connection, scope: Scope, wanted: Answers, now: Instant) -> None:
    """Compare the answers of the service that serves the API with the wanted ones.

    Raises:
        DatasetError: it does not, which is a bug.
    """
    if wanted.overview is not None:
        given = service.overview(connection, scope, wanted.overview.period, now).model_dump()
        for part, figures in wanted.overview.model_dump(
            by_alias=True, exclude_unset=True, include={"tickets", "customers", "csat"}
        ).items():
            for name, figure in figures.items():
                answered = given[part][name]
                if figure is not None and float(figure) != float(answered or 0):
                    raise _unanswered(("overview", part, name), figure, answered)
    if wanted.agents is not None:
        stats = {agent.userId: agent for agent in service.agents(connection, scope, now)}
        for index, (agent, member) in enumerate(zip(wanted.agents, _ids(wanted), strict=True)):
            for name in ("ticketsResolved", "avgResponseTime", "csatAverage"):
                figure, answered = agent.model_dump(by_alias=True)[name], getattr(stats[member], name)
                if (None if figure is None else float(figure)) != answered:
                    raise _unanswered(("agents", index, name), figure, answered)


def _ids(wanted: Answers) -> Iterator[str]:
    for number, agent in enumerate(wanted.agents or (), 1):
        yield agent.user_id or ids.numbered(ids.MEMBER, number)


def _unanswered(location: Location, figure: object, answered: object) -> DatasetError:
    return DatasetError(
        [Problem(location, f"the rows that were built answer {answered}, not {figure}; please report this")]
    )


def _explicit(data: EnvironmentData, now: Instant) -> Rows:
    """Return the explicit rows."""

    def moment(text: str | None) -> Instant | None:
        return None if text is None else parse_moment(text, now)

    return Rows(
        members=[
            {
                "id": row.id or ids.numbered(ids.MEMBER, number),
                "name": row.name,
                "created_at": moment(row.created_at),
                "removed_at": moment(row.removed_at),
            }
            for number, row in enumerate(data.members, 1)
        ],
        customers=[
            {
                "id": row.id or ids.numbered(ids.CUSTOMER, number),
                "name": row.name,
                "created_at": moment(row.created_at),
            }
            for number, row in enumerate(data.customers, 1)
        ],
        tickets=[
            ticket(
                row.id or ids.numbered(ids.TICKET, number),
                row.customer_id,
                parse_moment(row.created_at, now),
                assignee_id=row.assignee_id,
                status=row.status,
                first_response_at=moment(row.first_response_at),
                resolved_at=moment(row.resolved_at),
            )
            for number, row in enumerate(data.tickets, 1)
        ],
        csat_responses=[
            {
                "id": row.id or ids.numbered(ids.CSAT_RESPONSE, number),
                "ticket_id": row.ticket_id,
                "score": row.score,
                "submitted_at": moment(row.submitted_at),
            }
            for number, row in enumerate(data.csat_responses, 1)
        ],
    )


def _add_explicit(connection: Connection, scope: Scope, rows: Rows) -> None:
    problems: list[Problem] = []
    for model, batch in rows.batches():
        try:
            create(connection, scope, model, batch)
        except RowsRefused as refused:
            kind = to_camel(model.__tablename__)
            problems += [Problem((kind, row.index, to_camel(row.column)), row.message) for row in refused.problems]
    if problems:
        raise DatasetError(problems)
