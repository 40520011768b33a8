"""Who calls: from the `Authorization` header to a key, from the key to what it may do.

The checks are plain functions of headers and rows; nothing here knows FastAPI. `api.dependencies` puts them into
the documented order.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from sqlalchemy import Connection, bindparam, select

from cstar_mock import errors
from cstar_mock.clock import Instant, TeamClock
from cstar_mock.errors import ApiError
from cstar_mock.models import KEY_PREFIXES, ApiKey, KeyType, Team

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_KEY_BY_DIGEST = (
    select(
        ApiKey.id,
        ApiKey.environment,
        ApiKey.key_type,
        ApiKey.last_four,
        ApiKey.rate_limit,
        ApiKey.expires_at,
        ApiKey.revoked_at,
        Team.id,
        Team.slug,
        Team.name,
        Team.clock_frozen_at,
        Team.clock_offset,
        Team.clock_advanced,
    )
    .join(Team, Team.id == ApiKey.team_id)
    .where(ApiKey.digest == bindparam("digest"))
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A valid key, and the team that it belongs to.

    Attributes:
        rate_limit: the key's own limit, in requests a window; None means its type's.
    """

    key_id: str
    key_type: str
    environment: str
    last_four: str
    rate_limit: int | None
    team_id: str
    team_slug: str
    team_name: str
    clock: TeamClock


def digest(key: str) -> bytes:
    """Return what is stored of a key: its SHA-256 digest."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def bearer_token(headers: Headers) -> str | None:
    """Return the token of the one `Authorization: Bearer …` header, or None if there is no such header.

    The scheme is case-insensitive and followed by one space (RFC 9110); two such headers are malformed.
    """
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1 or values[0][:7].lower() != b"bearer ":
        return None
    return values[0][7:].decode("latin-1")


def find_caller(connection: Connection, token: str | None) -> Caller:
    """Return the caller that the token stands for.

    Raises:
        ApiError: AUTHENTICATION_REQUIRED; the key is missing, malformed, unknown, revoked or expired [doc].
    """
    if token is None:
        raise errors.authentication_required()
    row = connection.execute(_KEY_BY_DIGEST, {"digest": digest(token)}).first()
    if row is None:
        raise errors.authentication_required()
    (
        key_id,
        environment,
        key_type,
        last_four,
        rate_limit,
        expires_at,
        revoked_at,
        team_id,
        team_slug,
        team_name,
        frozen_at,
        offset,
        advanced,
    ) = row
    clock = TeamClock(frozen_at, offset, advanced)
    now = clock.now()
    if _has_come(revoked_at, now) or _has_come(expires_at, now):
        raise errors.authentication_required()
    return Caller(key_id, key_type, environment, last_four, rate_limit, team_id, team_slug, team_name, clock)


def require_team(caller: Caller, team_id: str) -> None:
    """Refuse a key that belongs to another team, and a team that does not exist, with the same words [ours].

    Raises:
        ApiError: TEAM_ACCESS_DENIED.
    """
    if caller.team_id != team_id:
        raise ApiError(errors.TEAM_ACCESS_DENIED)


def require_secret_key(caller: Caller) -> None:
    """Refuse a publishable key [doc].

    Raises:
        ApiError: SECRET_KEY_REQUIRED.
    """
    if caller.key_type != KeyType.SECRET:
        raise ApiError(errors.SECRET_KEY_REQUIRED)


def hint(token: str | None) -> str:
    """Say what is wrong with a refused token, for a developer who looks at the response headers [ours].

    It tells nothing that the caller did not send: no key, no team, not whether a key exists.
    """
    if token is None:
        return "send the header: Authorization: Bearer <key>"
    if token.startswith(tuple(f"{prefix}_" for prefix in KEY_PREFIXES)):
        return "the key is unknown here, revoked or expired; the server printed the keys of its teams at the start"
    return "a key begins with sk_live_, sk_test_, pk_live_ or pk_test_"


def _has_come(instant: Instant | None, now: Instant) -> bool:
    return instant is not None and instant <= now
