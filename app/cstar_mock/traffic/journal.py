"""The journal: the requests of each team with their answers, bounded in bytes and without a key."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from sys import getsizeof
from typing import Any, NamedTuple, Protocol

from cstar_mock import bounds
from cstar_mock.contract import clock
from cstar_mock.contract.clock import Instant
from cstar_mock.contract.redaction import redacted

UNMATCHED = ""
"""In the place of a team: requests that belonged to none."""

_SECRET_HEADERS = frozenset(
    (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"api-key", b"x-auth-token")
)


class RequestState(StrEnum):
    """The state of a request."""

    PENDING = "pending"
    ANSWERED = "answered"
    CLIENT_GONE = "client_gone"


class Entry(NamedTuple):
    """One request and its answer.

    Attributes:
        received_at: real time.
        team_time: the team's time, real time if no team is known.
        endpoint: `overview`, `agents` or `whoami`, if the path is an endpoint's.
        key: the key's type, environment, last four characters and name, if it was valid.
        state: answered, unless the answer is still to come or the client disconnected before it.
        status: the status of the answer, 0 if the connection was broken on purpose; None without an answer.
        code: `error.code` of the envelope.
        duration_ms: milliseconds until the answer, or until the client was gone; None while pending.
        fault: the rule that acted, or `Prefer`.
        hint: what was wrong with the key.
        arrived: when the request arrived, in seconds on the performance counter of the process that recorded it.
            Unlike `received_at`, it never goes back.
        size: bytes of memory that path, query and headers take.
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
    state: RequestState
    status: int | None
    code: str | None
    duration_ms: float | None
    fault: str | None
    hint: str | None = None
    arrived: float = 0.0
    size: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the entry as the control API shows it."""
        return {
            "id": self.id,
            "state": self.state,
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
                "hint": self.hint,
            },
        }


class Journal(Protocol):
    """The requests of all teams, bounded in number and in bytes.

    Each method raises StateUnavailable if the journal is shared and can't be reached.
    """

    size: int
    """Entries of each team that are kept; with 0 nothing is recorded."""

    async def record(self, team_id: str, entry: Entry) -> None:
        """Add an entry to a team's journal, in the place of the oldest one if the journal is full."""

    async def update(self, team_id: str, entry: Entry) -> None:
        """Replace the entry with the same id; do nothing if it was dropped or cleared."""

    async def entries(self, team_id: str) -> list[Entry]:
        """Return a team's entries, the last one to arrive first."""

    async def dropped(self, team_id: str) -> int:
        """Return how many entries a team's journal has dropped for newer ones since it was cleared."""

    async def clear(self, team_id: str | None = None) -> None:
        """Forget a team's entries, or all of them."""


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[tuple[str, str], ...], int]:
    """Return headers within their bounds and without secrets, and their bytes of memory."""
    kept = []
    longest_name, longest_value = bounds.LONGEST_JOURNAL_NAME, bounds.LONGEST_JOURNAL_VALUE
    room, size = bounds.JOURNAL_HEADERS_BYTES, 0
    for name, value in islice(headers, bounds.MOST_JOURNAL_HEADERS):
        # Cut before the cache sees them: it keeps its arguments.
        shown_value = b"[redacted]" if name in _SECRET_HEADERS else value[:longest_value]
        header, characters, bytes_ = shown_header(name[:longest_name], shown_value)
        room -= characters
        if room < 0:
            break
        kept.append(header)
        size += bytes_
    return tuple(kept), size


@lru_cache(maxsize=bounds.MOST_CACHED_HEADERS)
def shown_header(name: bytes, value: bytes) -> tuple[tuple[str, str], int, int]:
    """Return a header without a key in it, its characters, and its bytes of memory."""
    header = redacted(name.decode("latin-1")), redacted(value.decode("latin-1"))
    return header, len(header[0]) + len(header[1]), sum(map(getsizeof, (header, *header)))


def shown(text: str) -> str:
    """Return a path or query within its bound and without a key."""
    return redacted(text[: bounds.LONGEST_JOURNAL_PATH])
