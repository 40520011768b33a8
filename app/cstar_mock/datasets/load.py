"""Data sets into the store: whole or not at all, and the second time nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, delete, insert, select, update

from cstar_mock import teams
from cstar_mock.analytics import service
from cstar_mock.contract import clock, ids
from cstar_mock.contract.clock import Duration, Instant, TeamClock, parse_instant, parse_moment
from cstar_mock.contract.errors import UnknownName
from cstar_mock.contract.vocabulary import KEY_PREFIXES, Environment
from cstar_mock.datasets import answers
from cstar_mock.datasets.format import Answers, Dataset, EnvironmentData, MagicKey, TeamContent, TeamData
from cstar_mock.datasets.generate import Numbers, generate
from cstar_mock.datasets.problems import DatasetError, Location, Problem
from cstar_mock.keys import REVOKED_FROM_THE_START, key_row
from cstar_mock.store.models import ApiKey, Scope, Team
from cstar_mock.store.rows import Rows, RowsRefused, create, delete_all, insert_rows, large_load, ticket
from cstar_mock.traffic import authentication
from cstar_mock.traffic.faults import activated, check_bounds, stored


@dataclass(frozen=True, slots=True)
class LoadedTeam:
    """A team that is now in the store.

    Attributes:
        keys: its keys by prefix; None for one that was made at random earlier and can't be shown again.
        magic_keys: its further keys, by name.
        created: whether this load made it; else it was there already, from the same content.
    """

    id: str
    slug: str
    name: str
    dataset: str | None
    keys: dict[str, str | None]
    magic_keys: dict[str, str]
    created: bool


Progress = Callable[[int], None]
"""Called with a number of rows."""


def load(
    connection: Connection,
    dataset: Dataset,
    *,
    replace: bool = False,
    progress: Progress = lambda _rows: None,
) -> list[LoadedTeam]:
    """Load a data set in the connection's transaction.

    A team that was loaded before from the same content is left as it is.

    Args:
        connection: the store.
        dataset: what to load.
        replace: whether to put the data set in the place of teams of the same name.
        progress: called with the number of rows inserted so far.

    Raises:
        DatasetError: a team is there with other content and `replace` is off, a key belongs to another team,
            or the data set's rows contradict each other.
    """
    done = 0

    def add(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done)

    loaded = []
    for index, team in enumerate(dataset.teams):
        with _within("teams", index):
            loaded.append(_load_team(connection, dataset.dataset, team, replace, add))
    return loaded


def create_team(
    connection: Connection, team: TeamData, dataset: str | None = None, add: Progress = lambda _rows: None
) -> LoadedTeam:
    """Create a team with its keys and rows.

    Raises:
        DatasetError: a key belongs to another team, the fault rules are too many or too large, or the rows
            contradict each other.
    """
    _check_faults(team)
    team_id = team.id or ids.team_id(team.slug)
    name = team.name or team.slug.replace("-", " ").title()
    created_at = clock.real_now()
    connection.execute(
        insert(Team).values(
            id=team_id,
            slug=team.slug,
            name=name,
            dataset=dataset,
            origin=team.origin(),
            created_at=created_at,
            revision=created_at,
            **_beginning(team),
        )
    )
    keys = _create_keys(connection, team_id, team, created_at)
    _fill_team(connection, team_id, team, add)
    magic_keys = {label: key.key for label, key in team.magic_keys.items()}
    return LoadedTeam(team_id, team.slug, name, dataset, keys, magic_keys, created=True)


def reset_team(connection: Connection, team_id: str) -> None:
    """Put a team back to what it was created from: rows, clock, rules and keys.

    Raises:
        UnknownName: there is no such team.
    """
    teams.lock(connection, team_id)
    kept = connection.execute(select(Team.origin, Team.clock_advanced).where(Team.id == team_id)).one()
    team = TeamContent.from_origin(kept.origin)
    delete_all(connection, team_id)
    connection.execute(update(Team).where(Team.id == team_id).values(_beginning(team, kept.clock_advanced)))
    # Not `>`: the host's clock may have gone back since.
    began = select(Team.created_at).where(Team.id == team_id).scalar_subquery()
    connection.execute(delete(ApiKey).where(ApiKey.team_id == team_id, ApiKey.created_at != began))
    connection.execute(
        update(ApiKey)
        .where(ApiKey.team_id == team_id, ApiKey.revoked_at > REVOKED_FROM_THE_START)
        .values(revoked_at=None)
    )
    _fill_team(connection, team_id, team, lambda _rows: None)


def _beginning(team: TeamContent, advanced: Duration = 0) -> dict[str, Any]:
    """Return the columns of a team at its beginning.

    Args:
        team: what it begins with.
        advanced: by how much its clock has been advanced before: rules heal by real time plus that.
    """
    return {
        "clock_frozen_at": None if team.clock is None else parse_instant(team.clock),
        "clock_offset": 0,
        "rate_limits": team.rate_limits and team.rate_limits.model_dump(by_alias=True, exclude_unset=True),
        "faults": stored(activated(team.faults, clock.real_now() + advanced)),
    }


def _check_faults(team: TeamContent) -> None:
    try:
        check_bounds(activated(team.faults, 0))
    except ValueError as error:
        raise DatasetError([Problem(("faults",), str(error))]) from None


def _create_keys(connection: Connection, team_id: str, team: TeamData, now: Instant) -> dict[str, str | None]:
    """Create the team's keys, at random where none is given, and return the four in clear.

    Raises:
        DatasetError: a given key exists already.
    """
    given = team.given_keys()
    keys: dict[str, str] = {prefix: given[prefix] or ids.new_key(prefix) for prefix in KEY_PREFIXES}
    rows: list[tuple[Location, str, str | None, MagicKey | None]] = [
        *((("keys", prefix), key, None, None) for prefix, key in keys.items()),
        *((("magicKeys", label), magic.key, label, magic) for label, magic in team.magic_keys.items()),
    ]
    digests = [authentication.digest(key) for _, key, _, _ in rows]
    taken = set(connection.scalars(select(ApiKey.digest).where(ApiKey.digest.in_(digests))))
    team_now = TeamClock(None if team.clock is None else parse_instant(team.clock)).now()
    for (location, *_), digest in zip(rows, digests, strict=True):
        if digest in taken or digests.count(digest) > 1:
            raise DatasetError([Problem(location, "this key is taken already")])
    connection.execute(
        insert(ApiKey),
        [
            key_row(
                team_id,
                key,
                now,
                name=label,
                rate_limit=magic.rate_limit if magic else None,
                expires_at=parse_moment(magic.expires_at, team_now) if magic and magic.expires_at else None,
                revoked_at=REVOKED_FROM_THE_START if magic and magic.revoked else None,
            )
            for _, key, label, magic in rows
        ],
    )
    return dict(keys)


def _fill_team(connection: Connection, team_id: str, team: TeamContent, add: Progress) -> None:
    now = TeamClock(None if team.clock is None else parse_instant(team.clock)).now()
    for environment, data in ((Environment.LIVE, team.live), (Environment.TEST, team.test)):
        with _within(environment.value):
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
        with _within("answers"):
            rows = answers.build(data.answers, now)
            insert_rows(connection, scope, rows)
            verify(connection, scope, data.answers, now)
            add(len(rows))
        return
    _add_explicit(connection, scope, _explicit(data, now))
    add(len(data.members) + len(data.customers) + len(data.tickets) + len(data.csat_responses))
    if data.recipes:
        with large_load(connection, scope, sum(recipe.tickets for recipe in data.recipes)) as insert_some:
            _follow_recipes(data, now, insert_some, add)


def _follow_recipes(data: EnvironmentData, now: Instant, insert_some: Callable[[Rows], None], add: Progress) -> None:
    """Insert what the recipes give."""
    numbers = Numbers(len(data.members) + 1, len(data.customers) + 1, len(data.tickets) + 1)
    for index, recipe in enumerate(data.recipes):
        with _within("recipes", index):
            for rows in generate(recipe, now, numbers):
                insert_some(rows)
                add(len(rows))
                numbers = Numbers(
                    numbers.members + len(rows.members),
                    numbers.customers + len(rows.customers),
                    numbers.tickets + len(rows.tickets),
                )


def answer(connection: Connection, team: str, environment: str, wanted: Answers) -> None:
    """Put rows that give these answers, now by the team's clock, in the place of those that an environment has.

    Raises:
        DatasetError: figures contradict each other.
        UnknownName: there is no such team.
    """
    state = teams.lock(connection, team)
    scope, now = Scope(state.id, environment), state.clock.now()
    delete_all(connection, state.id, environment)
    rows = answers.build(wanted, now)
    insert_rows(connection, scope, rows)
    verify(connection, scope, wanted, now)


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


def _load_team(connection: Connection, dataset: str, team: TeamData, replace: bool, add: Progress) -> LoadedTeam:
    team_id = team.id or ids.team_id(team.slug)
    known = connection.execute(
        select(Team.id, Team.slug, Team.name, Team.origin)
        .where((Team.id == team_id) | (Team.slug == team.slug))
        # Whoever locks several teams locks them in the same order.
        .order_by(Team.id)
    ).all()
    if len(known) == 1 and (known[0].id, known[0].origin) == (team_id, team.origin()):
        magic_keys = {label: key.key for label, key in team.magic_keys.items()}
        return LoadedTeam(team_id, team.slug, known[0].name, dataset, team.given_keys(), magic_keys, created=False)
    if known and not replace:
        raise DatasetError(
            [
                Problem(
                    ("slug",),
                    f"the team {team.slug!r} is there already, with other content; "
                    "load with --replace to put this in its place",
                )
            ]
        )
    for row in known:
        with suppress(UnknownName):  # deleted meanwhile
            delete_team(connection, row.id)
    return create_team(connection, team, dataset, add)


def delete_team(connection: Connection, team_id: str) -> None:
    """Delete a team with all that it owns.

    Raises:
        UnknownName: there is no such team.
    """
    teams.lock(connection, team_id)
    delete_all(connection, team_id)
    connection.execute(delete(Team).where(Team.id == team_id))


def _explicit(data: EnvironmentData, now: Instant) -> Rows:
    """Return the rows that are written out."""

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
