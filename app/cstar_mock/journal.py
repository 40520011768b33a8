"""What clients sent, and what they got: what is kept of a request, without a single key in it."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, Protocol

from cstar_mock import bounds, clock
from cstar_mock.clock import Instant
from cstar_mock.redaction import redacted

UNMATCHED = ""
"""In the place of a team: requests that belonged to none."""

_SECRET_HEADERS = frozenset(
    (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"api-key", b"x-auth-token")
)


class Entry(NamedTuple):
    """One request and its answer.

    Attributes:
        received_at: real time.
        team_time: the team's time, real time if no team is known.
        endpoint: `overview`, `agents` or `whoami`, if the path is one of theirs.
        key: the key's type, environment, last four characters and name, if it was valid.
        code: `error.code` of the envelope.
        fault: the rule that acted, or `Prefer`.
    """

    id: str
    received_at: Instant
    team_time: Instant
    method: str
    path: str
    query: str
    endpoint: str | None
    headers: tuple[tuple[str, str], ...]
    key: Mapping[str, str | None] | None
    status: int
    code: str | None
    duration_ms: float
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the entry as the control API shows it."""
        return {
            "id": self.id,
            "receivedAt": clock.iso_exact(self.received_at),
            "teamTime": clock.iso_exact(self.team_time),
            "request": {
                "method": self.method,
                "path": self.path,
                "query": self.query,
                "endpoint": self.endpoint,
                "headers": dict(self.headers),
                "key": self.key,
            },
            "response": {
                "status": self.status,
                "code": self.code,
                "durationMs": self.duration_ms,
                "fault": self.fault,
            },
        }


class Journal(Protocol):
    """The requests of all teams, a bounded number of each.

    Each method raises StateUnavailable if the journal is shared and can't be reached.
    """

    size: int
    """Entries of each team that are kept; with 0 nothing is recorded."""

    async def record(self, team_id: str, entry: Entry) -> None:
        """Add an entry to a team's, in the place of the oldest one if there are enough."""

    async def entries(self, team_id: str) -> list[Entry]:
        """Return a team's entries, the newest first."""

    async def clear(self, team_id: str | None = None) -> None:
        """Forget a team's entries, or all of them."""


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return headers as they may be kept: not too many, not too long, and no secret."""
    return tuple(
        [
            _shown_header(name, b"[redacted]" if name in _SECRET_HEADERS else value[: bounds.LONGEST_JOURNAL_VALUE])
            for name, value in islice(headers, bounds.MOST_JOURNAL_HEADERS)
        ]
    )


@lru_cache(maxsize=1024)
def _shown_header(name: bytes, value: bytes) -> tuple[str, str]:
    return redacted(name.decode("latin-1")), redacted(value.decode("latin-1"))


def shown(text: str) -> str:
    """Return a path or query as it may be kept and logged: not too long, and without a key."""
    return redacted(text[: bounds.LONGEST_JOURNAL_PATH])
