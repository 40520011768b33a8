"""Authentication: from the `Authorization` header to a key, from the key to its caller.

The checks are plain functions of headers and rows; nothing here knows FastAPI. `api.dependencies` puts them into
the documented order.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ARRAY, LargeBinary, Text, any_, bindparam, cast, select

from cstar_mock import bounds
from cstar_mock.contract import errors
from cstar_mock.contract.clock import Duration, Instant, TeamClock
from cstar_mock.contract.errors import ApiError, StoreUnavailable
from cstar_mock.contract.vocabulary import KEY_PREFIXES, KeyType
from cstar_mock.store.database import Database, Prepared
from cstar_mock.store.models import ApiKey, Team
from cstar_mock.traffic.batches import Batches
from cstar_mock.traffic.cache import Cache
from cstar_mock.traffic.fault_rules import ActiveRule, from_store

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]

_KEYS = (  # a revoked key is as an unknown one
    select(
        ApiKey.digest,
        ApiKey.id,
        ApiKey.key_type,
        ApiKey.environment,
        ApiKey.last_four,
        ApiKey.name,
        ApiKey.rate_limit,
        ApiKey.expires_at,
        Team.id,
        Team.slug,
        Team.name,
        Team.revision,
        cast(Team.rate_limits, Text),
        cast(Team.faults, Text),
        Team.clock_frozen_at,
        Team.clock_offset,
        Team.clock_advanced,
    )
    .join(Team, Team.id == ApiKey.team_id)
    .where(ApiKey.revoked_at.is_(None))
)
_KEY_BY_DIGEST = Prepared(_KEYS.where(ApiKey.digest == bindparam("digest")))
_KEYS_BY_DIGESTS = Prepared(_KEYS.where(ApiKey.digest == any_(bindparam("digests", type_=ARRAY(LargeBinary)))))
"""For PostgreSQL: the keys of many requests in one statement."""

_BATCH = 100
"""Most keys in one statement."""

_CALLER_BYTES = 3_000
"""Bytes of a caller without its fault rules."""

_NO_RULES = "[]"
_RULE_BYTES_A_CHARACTER = 40
"""Bytes of memory that parsed fault rules take, at most, for each character of their JSON."""


class _KeyRow(NamedTuple):
    """A row of `_KEYS`, its columns in their order."""

    digest: bytes
    key_id: str
    key_type: str
    environment: str
    last_four: str
    key_name: str | None
    rate_limit: int | None
    expires_at: Instant | None
    team_id: str
    team_slug: str
    team_name: str
    revision: int
    rate_limits: str | None
    faults: str
    clock_frozen_at: Instant | None
    clock_offset: Duration
    clock_advanced: Duration


@dataclass(frozen=True, slots=True)
class Caller:
    """A valid key, and the team that it belongs to.

    Attributes:
        key_name: what fault rules call the key, if they do.
        rate_limit: the key's own limit, in requests a window; None means its type's.
        rate_limits: the team's own limits; None means the server's.
        faults: the team's fault rules that may be about requests with this key, in their order.
        shown: what the journal shows of the key.
        revision: the team's: as long as it is the same, nothing was written to the team.
    """

    key_id: str
    key_type: str
    environment: str
    last_four: str
    key_name: str | None
    rate_limit: int | None
    rate_limits: Mapping[str, Any] | None
    faults: tuple[ActiveRule, ...]
    team_id: str
    team_slug: str
    team_name: str
    revision: int
    shown: Mapping[str, str | None]
    clock: TeamClock
    expires_at: Instant | None

    def expired(self) -> bool:
        """Whether the key has expired, by the team's clock."""
        return self.expires_at is not None and self.expires_at <= self.clock.now()


class KeyRing:
    """A cache of callers by key digest, dropped whenever the store changes.

    On PostgreSQL, every request looks its key up; requests that wait at the same time share a statement.
    """

    def __init__(self, database: Database, *, together: bool = True) -> None:
        """Make an empty key ring.

        Args:
            database: the database with the keys.
            together: whether requests may share a statement. With tracing they may not: a statement is a span of
                one request.
        """
        self._database = database
        self._callers: Cache[bytes, Caller] = Cache()
        self._rules: Cache[str, tuple[ActiveRule, ...]] = Cache()
        self._version: object = None
        self._unknown: bytes | None = None
        self._lookups: Batches[bytes, Caller | None] | None = None
        if together and not database.embedded:
            self._lookups = Batches(self._look_up_all, _BATCH)

    async def find(self, key: bytes) -> Caller | None:
        """Return the caller that owns the key with this digest; None if the key is unknown, revoked or expired.

        Raises:
            StoreUnavailable: the database can't be reached.
        """
        version = self._database.version()
        if version != self._version:
            self._callers.clear()
            self._version, self._unknown = version, None
        caller = self._callers.get(key)
        if caller is None and key != self._unknown:
            caller = await self._look_up(key, cached=version is not None)
            if caller is None and version is not None:
                # A request asks twice: for a replay, and in the router. More of them would be a stranger's to fill.
                self._unknown = key
        return None if caller is None or caller.expired() else caller

    async def _look_up(self, key: bytes, *, cached: bool) -> Caller | None:
        if self._lookups is not None:
            try:
                return await self._lookups.ask(key, self._database.longest_read())
            except TimeoutError as error:
                raise StoreUnavailable from error
        rows = await self._database.read(_KEY_BY_DIGEST.execute, {"digest": key})
        if not rows:
            return None
        row = _KeyRow(*rows[0])
        caller = _caller(row, self._rules_of(row.faults))
        if cached and not caller.expired():
            size = _CALLER_BYTES + _rules_bytes(row.faults)
            self._callers.put(key, caller, size, bounds.CACHED_CALLER_BYTES)
        return caller

    async def _look_up_all(self, keys: Sequence[bytes]) -> list[Caller | Exception | None]:
        rows = await self._database.read(_KEYS_BY_DIGESTS.execute, {"digests": list(set(keys))})
        callers = {row.digest: _caller(row, self._rules_of(row.faults)) for row in map(_KeyRow._make, rows)}
        return [callers.get(key) for key in keys]

    def _rules_of(self, stored: str) -> tuple[ActiveRule, ...]:
        """Return parsed fault rules: to parse them costs more than everything else of a look-up."""
        rules = self._rules.get(stored)
        if rules is None:
            rules = from_store(json.loads(stored))
            self._rules.put(stored, rules, _rules_bytes(stored), bounds.CACHED_RULE_BYTES)
        return rules


def _rules_bytes(stored: str) -> int:
    return 0 if stored == _NO_RULES else _RULE_BYTES_A_CHARACTER * len(stored)


def digest(key: str) -> bytes:
    """Return the SHA-256 digest of a key, which is all that the store has of it."""
    return digest_of(key.encode("utf-8", "surrogateescape"))


def digest_of(value: bytes) -> bytes:
    """Return the SHA-256 digest of bytes that are, or contain, a key."""
    return hashlib.sha256(value).digest()


def bearer_token(headers: Headers) -> str | None:
    """Return the token of the one `Authorization: Bearer …` header, or None if there is no such header.

    The scheme is case-insensitive and followed by one space (RFC 9110); two such headers are malformed.
    """
    found = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                return None
            found = value
    if found is None or found[:7].lower() != b"bearer ":
        return None
    return found[7:].decode("latin-1")


def key_digest(headers: Headers) -> bytes | None:
    """Return the digest of a request's key, or None without a key."""
    token = bearer_token(headers)
    return None if token is None else digest(token)


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
    """Return the reason for refusing a token, for the response headers [ours].

    It tells nothing that the caller did not send: no key, no team, not whether a key exists.
    """
    if token is None:
        return "send the header: Authorization: Bearer <key>"
    if token.startswith(tuple(f"{prefix}_" for prefix in KEY_PREFIXES)):
        return "the key is unknown here, revoked or expired; the server printed the keys of its teams at the start"
    return "a key begins with sk_live_, sk_test_, pk_live_ or pk_test_"


def _caller(row: _KeyRow, rules: tuple[ActiveRule, ...]) -> Caller:
    return Caller(
        key_id=row.key_id,
        key_type=row.key_type,
        environment=row.environment,
        last_four=row.last_four,
        key_name=row.key_name,
        rate_limit=row.rate_limit,
        rate_limits=None if row.rate_limits is None else json.loads(row.rate_limits),
        faults=tuple(one for one in rules if one.rule.matches_key(row.key_type, row.environment, row.key_name)),
        team_id=row.team_id,
        team_slug=row.team_slug,
        team_name=row.team_name,
        revision=row.revision,
        shown={
            "type": row.key_type,
            "environment": row.environment,
            "lastFour": row.last_four,
            "name": row.key_name,
        },
        clock=TeamClock(row.clock_frozen_at, row.clock_offset, row.clock_advanced),
        expires_at=row.expires_at,
    )
