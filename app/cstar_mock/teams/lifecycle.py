"""The life of a team: create, reset, answer, delete.

Each is one piece of work in one transaction, which begins with the team's lock.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from cstar_mock.contract import clock, ids
from cstar_mock.contract.clock import Duration, Instant, TeamClock, parse_instant, parse_moment
from cstar_mock.contract.vocabulary import KEY_PREFIXES
from cstar_mock.datasets.format import Answers, MagicKey, TeamContent, TeamData
from cstar_mock.datasets.problems import DatasetError, Location, Problem
from cstar_mock.store.models import ApiKey, Scope, Team
from cstar_mock.store.rows import delete_all
from cstar_mock.teams import teams
from cstar_mock.teams.fill import Progress, fill_team, fill_with_answers
from cstar_mock.teams.keys import REVOKED_FROM_THE_START, key_row
from cstar_mock.traffic import authentication
from cstar_mock.traffic.fault_rules import activated, check_bounds, stored


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
    fill_team(connection, team_id, team, add)
    magic_keys = {label: key.key for label, key in team.magic_keys.items()}
    return LoadedTeam(team_id, team.slug, name, dataset, keys, magic_keys, created=True)


def reset_team(connection: Connection, team_id: str) -> None:
    """Reset a team to its initial content: rows, clock, rules and keys.

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
    fill_team(connection, team_id, team, lambda _rows: None)


def answer(connection: Connection, team: str, environment: str, wanted: Answers) -> None:
    """Replace the rows of an environment by rows that give these answers, now by the team's clock.

    Raises:
        DatasetError: figures contradict each other.
        UnknownName: there is no such team.
    """
    state = teams.lock(connection, team)
    scope, now = Scope(state.id, environment), state.clock.now()
    delete_all(connection, state.id, environment)
    fill_with_answers(connection, scope, wanted, now)


def delete_team(connection: Connection, team_id: str) -> None:
    """Delete a team with all that it owns.

    Raises:
        UnknownName: there is no such team.
    """
    teams.lock(connection, team_id)
    delete_all(connection, team_id)
    connection.execute(delete(Team).where(Team.id == team_id))


def _beginning(team: TeamContent, advanced: Duration = 0) -> dict[str, Any]:
    """Return the initial columns of a team.

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
