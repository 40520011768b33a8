"""API keys: create, list, revoke."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cstar_mock.contract import clock, ids
from cstar_mock.contract.clock import Instant, TeamClock, parse_moment
from cstar_mock.contract.errors import UnknownName
from cstar_mock.contract.vocabulary import KEY_PREFIXES, Environment, KeyType
from cstar_mock.store.models import ApiKey, Team
from cstar_mock.teams import teams
from cstar_mock.traffic import authentication

REVOKED_FROM_THE_START: Instant = 0
"""When a key was revoked that its data set says is: a reset of the team leaves it so."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as it can be shown, without its value."""

    id: str
    prefix: str
    last_four: str
    name: str | None
    rate_limit: int | None
    expires_at: Instant | None
    team_slug: str
    state: str


def create(
    connection: Connection,
    team: str,
    prefix: str,
    *,
    key: str | None = None,
    name: str | None = None,
    rate_limit: int | None = None,
    expires: str | None = None,
) -> str:
    """Create a key, and return it in clear: it is stored as a digest only.

    Args:
        connection: the store.
        team: the team's id or slug.
        prefix: `sk_live`, `sk_test`, `pk_live` or `pk_test`.
        key: the key itself; by default it is made at random.
        name: what fault rules call it.
        rate_limit: the key's own limit, in requests a window; None means its type's.
        expires: an instant, perhaps relative to the team's clock.

    Raises:
        UnknownName: there is no such team.
        ValueError: `expires` is no instant.
    """
    owner = teams.lock(connection, team)
    key = key or ids.new_key(prefix)
    expires_at = None if expires is None else parse_moment(expires, owner.clock.now())
    connection.execute(
        insert(ApiKey).values(
            key_row(owner.id, key, clock.real_now(), name=name, rate_limit=rate_limit, expires_at=expires_at)
        )
    )
    return key


def key_row(
    team_id: str,
    key: str,
    created_at: Instant,
    *,
    name: str | None = None,
    rate_limit: int | None = None,
    expires_at: Instant | None = None,
    revoked_at: Instant | None = None,
) -> dict[str, Any]:
    """Return the row of a key, whose type and environment follow from its prefix."""
    key_type, environment = KEY_PREFIXES[key[:7]]
    return {
        "team_id": team_id,
        "id": ids.new(ids.API_KEY),
        "environment": environment.value,
        "key_type": key_type.value,
        "digest": authentication.digest(key),
        "last_four": key[-4:],
        "name": name,
        "rate_limit": rate_limit,
        "created_at": created_at,
        "expires_at": expires_at,
        "revoked_at": revoked_at,
    }


def list_(connection: Connection, team: str | None = None) -> list[ListedKey]:
    """Return the keys of one team or of all, the oldest first.

    Raises:
        UnknownName: there is no such team.
    """
    statement = (
        select(
            ApiKey.id,
            ApiKey.key_type,
            ApiKey.environment,
            ApiKey.last_four,
            ApiKey.name,
            ApiKey.rate_limit,
            ApiKey.expires_at,
            ApiKey.revoked_at,
            Team.slug,
            Team.clock_frozen_at,
            Team.clock_offset,
        )
        .join(Team, Team.id == ApiKey.team_id)
        .order_by(Team.slug, ApiKey.created_at, ApiKey.id)
    )
    if team is not None:
        if not connection.scalar(select(Team.id).where((Team.id == team) | (Team.slug == team))):
            raise UnknownName(f"there is no team {team!r}")
        statement = statement.where((Team.id == team) | (Team.slug == team))
    return [
        ListedKey(
            row.id,
            _prefix(row.key_type, row.environment),
            row.last_four,
            row.name,
            row.rate_limit,
            row.expires_at,
            row.slug,
            _state(row.revoked_at, row.expires_at, TeamClock(row.clock_frozen_at, row.clock_offset).now()),
        )
        for row in connection.execute(statement)
    ]


def revoke(connection: Connection, key_id: str, team: str | None = None) -> None:
    """Revoke a key permanently.

    Args:
        connection: the store.
        key_id: the key's id.
        team: the id or slug of its team; by default whichever team has the key.

    Raises:
        UnknownName: there is no such team, or it has no such key.
    """
    owner = teams.lock(connection, team or _team_of(connection, key_id))
    revoked = connection.execute(
        update(ApiKey).where(ApiKey.team_id == owner.id, ApiKey.id == key_id).values(revoked_at=clock.real_now())
    )
    if not revoked.rowcount:
        raise _unknown(key_id)


def _team_of(connection: Connection, key_id: str) -> str:
    team_id = connection.scalar(select(ApiKey.team_id).where(ApiKey.id == key_id))
    if team_id is None:
        raise _unknown(key_id)
    return team_id


def _unknown(key_id: str) -> UnknownName:
    return UnknownName(f"there is no key {key_id[:100]!r}; `cstar-mock keys list` shows the ids")


def _prefix(key_type: str, environment: str) -> str:
    wanted = (KeyType(key_type), Environment(environment))
    return next(prefix for prefix, meaning in KEY_PREFIXES.items() if meaning == wanted)


def _state(revoked_at: Instant | None, expires_at: Instant | None, now: Instant) -> str:
    if revoked_at is not None:
        return "revoked"
    if expires_at is None:
        return "valid"
    return f"{'expired' if expires_at <= now else 'valid until'} {clock.iso(expires_at)}"
