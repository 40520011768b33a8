"""Data sets into the store: whole or not at all, and the second time nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from cstar_mock import clock, ids, security
from cstar_mock.api.analytics import service
from cstar_mock.api.analytics.service import Scope
from cstar_mock.clock import Instant, TeamClock, parse_instant, parse_moment
from cstar_mock.datasets import answers
from cstar_mock.datasets.format import (
    Answers,
    Dataset,
    DatasetError,
    EnvironmentData,
    Location,
    Problem,
    TeamData,
)
from cstar_mock.datasets.generate import Numbers, generate
from cstar_mock.models import (
    KEY_PREFIXES,
    ApiKey,
    CsatResponse,
    Customer,
    Environment,
    Member,
    Team,
    Ticket,
)
from cstar_mock.rows import Rows, insert_rows, ticket, ticket_problems


@dataclass(frozen=True, slots=True)
class LoadedTeam:
    """A team that is now in the store.

    Attributes:
        keys: its keys by prefix; None for one that was made at random earlier and can't be shown again.
        created: whether this load made it; else it was there already, from the same content.
    """

    id: str
    slug: str
    name: str
    dataset: str
    keys: dict[str, str | None]
    created: bool


Progress = Callable[[int], None]
"""Called with the number of rows inserted so far."""


def load(
    connection: Connection,
    dataset: Dataset,
    *,
    replace: bool = False,
    progress: Progress = lambda _rows: None,
) -> list[LoadedTeam]:
    """Load a data set in the connection's transaction.

    A team that was loaded before from the same content is left as it is.

    Raises:
        DatasetError: a team is there with other content and `replace` is off, a key belongs to another team, or
            the data set's rows contradict each other.
    """
    done = 0

    def add(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done)

    return [
        _load_team(connection, dataset.dataset, team, ("teams", index), replace, add)
        for index, team in enumerate(dataset.teams)
    ]


def delete_rows(connection: Connection, team_id: str, environment: str | None = None) -> None:
    """Delete a team's members, customers, tickets and CSAT responses, in one environment or in both."""
    for model in (CsatResponse, Ticket, Customer, Member):
        statement = delete(model).where(model.team_id == team_id)
        connection.execute(statement if environment is None else statement.where(model.environment == environment))


def create_keys(connection: Connection, team_id: str, given: dict[str, str | None]) -> dict[str, str | None]:
    """Create one key for each of the four prefixes, at random where none is given, and return them in clear.

    Raises:
        DatasetError: a given key exists already.
    """
    keys = {prefix: given.get(prefix) or ids.new_key(prefix) for prefix in KEY_PREFIXES}
    digests = {prefix: security.digest(key) for prefix, key in keys.items()}
    taken = set(connection.scalars(select(ApiKey.digest).where(ApiKey.digest.in_(digests.values()))))
    for prefix, value in digests.items():
        if value in taken:
            raise DatasetError([Problem(("keys", prefix), "this key belongs to another team already")])
    now = clock.real_now()
    connection.execute(
        insert(ApiKey),
        [
            {
                "team_id": team_id,
                "id": ids.new(ids.API_KEY),
                "environment": environment.value,
                "key_type": key_type.value,
                "digest": digests[prefix],
                "last_four": keys[prefix][-4:],
                "created_at": now,
            }
            for prefix, (key_type, environment) in KEY_PREFIXES.items()
        ],
    )
    return dict(keys)


def fill(connection: Connection, scope: Scope, data: EnvironmentData, now: Instant, add: Progress) -> None:
    """Insert the rows of one environment, explicit, from recipes, or built to give answers.

    Raises:
        DatasetError: the rows, or the figures, contradict each other.
    """
    if data.answers is not None:
        with _within("answers"):
            rows = answers.build(data.answers, now)
            insert_rows(connection, scope.team_id, scope.environment, rows)
            verify(connection, scope, data.answers, now)
            add(len(rows))
        return
    explicit = _explicit(data, now)
    insert_rows(connection, scope.team_id, scope.environment, explicit)
    add(len(explicit))
    numbers = Numbers(len(data.members) + 1, len(data.customers) + 1, len(data.tickets) + 1)
    for index, recipe in enumerate(data.recipes):
        with _within("recipes", index):
            for rows in generate(recipe, now, numbers):
                insert_rows(connection, scope.team_id, scope.environment, rows)
                add(len(rows))
                numbers = Numbers(
                    numbers.members + len(rows.members),
                    numbers.customers + len(rows.customers),
                    numbers.tickets + len(rows.tickets),
                )


def verify(connection: Connection, scope: Scope, wanted: Answers, now: Instant) -> None:
    """Ask the service that serves the API whether it now answers what was wanted.

    Raises:
        DatasetError: it does not, which is a fault of ours.
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


@contextmanager
def _within(*location: str | int) -> Iterator[None]:
    """Put the place that is worked on in front of every problem's location."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(
            Problem((*location, *problem.location), problem.message) for problem in error.problems
        ) from None


def _load_team(
    connection: Connection, dataset: str, team: TeamData, location: Location, replace: bool, add: Progress
) -> LoadedTeam:
    team_id, digest = team.id or ids.team_id(team.slug), team.digest()
    given = team.keys.model_dump()
    name = team.name or team.slug.replace("-", " ").title()
    known = connection.execute(
        select(Team.id, Team.slug, Team.dataset_digest).where((Team.id == team_id) | (Team.slug == team.slug))
    ).all()
    if [tuple(row) for row in known] == [(team_id, team.slug, digest)]:
        return LoadedTeam(team_id, team.slug, name, dataset, given, created=False)
    if known and not replace:
        raise DatasetError(
            [
                Problem(
                    (*location, "slug"),
                    f"the team {team.slug!r} is there already, with other content; "
                    "load with --replace to put this in its place",
                )
            ]
        )
    for row in known:
        delete_rows(connection, row.id)
        connection.execute(delete(Team).where(Team.id == row.id))
    frozen_at = None if team.clock is None else parse_instant(team.clock)
    now = TeamClock(frozen_at).now()
    connection.execute(
        insert(Team).values(
            id=team_id,
            slug=team.slug,
            name=name,
            clock_frozen_at=frozen_at,
            dataset=dataset,
            dataset_digest=digest,
            created_at=clock.real_now(),
        )
    )
    with _within(*location):
        keys = create_keys(connection, team_id, given)
        for environment, data in ((Environment.LIVE, team.live), (Environment.TEST, team.test)):
            with _within(environment.value):
                fill(connection, Scope(team_id, environment.value), data, now, add)
    return LoadedTeam(team_id, team.slug, name, dataset, keys, created=True)


def _explicit(data: EnvironmentData, now: Instant) -> Rows:
    """Return the rows that are written out, checked.

    Raises:
        DatasetError: naming every row that makes no sense.
    """

    def moment(text: str | None) -> Instant | None:
        return None if text is None else parse_moment(text, now)

    rows = Rows(
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
    problems = [*_explicit_problems(rows)]
    if problems:
        raise DatasetError(problems)
    return rows


def _explicit_problems(rows: Rows) -> Iterator[Problem]:
    for kind, batch in (
        ("members", rows.members),
        ("customers", rows.customers),
        ("tickets", rows.tickets),
        ("csatResponses", rows.csat_responses),
    ):
        seen = set()
        for index, row in enumerate(batch):
            if row["id"] in seen:
                yield Problem((kind, index, "id"), f"the id {row['id']!r} stands there twice")
            seen.add(row["id"])
    for index, row in enumerate(rows.members):
        if row["removed_at"] is not None and row["removed_at"] < row["created_at"]:
            yield Problem(("members", index, "removedAt"), "a member can't be removed before joining")
    yield from _ticket_problems(rows)
    yield from _response_problems(rows)


def _ticket_problems(rows: Rows) -> Iterator[Problem]:
    customers = {row["id"] for row in rows.customers}
    members = {row["id"] for row in rows.members}
    names = {"first_response_at": "firstResponseAt", "resolved_at": "resolvedAt"}
    for index, row in enumerate(rows.tickets):
        if row["customer_id"] not in customers:
            yield Problem(("tickets", index, "customerId"), f"no customer has the id {row['customer_id']!r}")
        if row["assignee_id"] is not None and row["assignee_id"] not in members:
            yield Problem(("tickets", index, "assigneeId"), f"no member has the id {row['assignee_id']!r}")
        for column, sentence in ticket_problems(row):
            yield Problem(("tickets", index, names[column]), sentence)


def _response_problems(rows: Rows) -> Iterator[Problem]:
    created = {row["id"]: row["created_at"] for row in rows.tickets}
    scored: set[str] = set()
    for index, row in enumerate(rows.csat_responses):
        ticket_id = row["ticket_id"]
        if ticket_id not in created:
            yield Problem(("csatResponses", index, "ticketId"), f"no ticket has the id {ticket_id!r}")
        elif row["submitted_at"] < created[ticket_id]:
            yield Problem(("csatResponses", index, "submittedAt"), "a response can't be before its ticket's creation")
        if ticket_id in scored:
            yield Problem(("csatResponses", index, "ticketId"), f"the ticket {ticket_id!r} has a response already")
        scored.add(ticket_id)
