"""What clients sent, and what they got: a ring for each team, bounded, without a single key in it."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from cstar_mock import clock
from cstar_mock.clock import Instant
from cstar_mock.redaction import redacted

UNMATCHED = ""
"""In the place of a team: requests that belonged to none."""

MOST_TEAMS = 1_000
"""Rings at once; the one that was written to the longest ago goes first."""

MOST_ENTRIES = 100_000
"""Entries in all rings together, about 180 MB; the ring that was written to the longest ago loses its oldest first."""

_SECRET_HEADERS = frozenset(
    (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key", b"api-key", b"x-auth-token")
)
_MOST_HEADERS = 30
_LONGEST_VALUE = 200
_LONGEST_PATH = 500


@dataclass(frozen=True, slots=True)
class Entry:
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


class Journal:
    """The rings of all teams."""

    def __init__(self, size: int) -> None:
        """Make an empty journal with rings of `size` entries; 0 keeps nothing."""
        self.size = size
        self._rings: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._total = 0

    def record(self, team_id: str, entry: Entry) -> None:
        """Add an entry to a team's ring, in the place of the oldest one if the ring is full."""
        ring = self._rings.get(team_id)
        if ring is None:
            ring = self._rings[team_id] = deque(maxlen=self.size)
            if len(self._rings) > MOST_TEAMS:
                self._total -= len(self._rings.popitem(last=False)[1])
        else:
            self._rings.move_to_end(team_id)
        self._total += len(ring) < self.size
        ring.append(entry)
        if self._total > MOST_ENTRIES:
            self._drop_one()

    def entries(self, team_id: str) -> Iterator[Entry]:
        """Yield a team's entries, the newest first."""
        return reversed(self._rings.get(team_id, deque()))

    def find(self, team_id: str, wanted: Callable[[Entry], bool]) -> list[Entry]:
        """Return the entries that are wanted, the newest first."""
        return list(filter(wanted, self.entries(team_id)))

    def clear(self, team_id: str | None = None) -> None:
        """Forget a team's entries, or all of them."""
        if team_id is None:
            self._rings.clear()
            self._total = 0
        else:
            self._total -= len(self._rings.pop(team_id, ()))

    def _drop_one(self) -> None:
        oldest, ring = next(iter(self._rings.items()))
        ring.popleft()
        self._total -= 1
        if not ring:
            del self._rings[oldest]


def shown_headers(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return headers as they may be kept: not too many, not too long, and no secret."""
    return tuple(
        (
            redacted(name.decode("latin-1")),
            "[redacted]" if name in _SECRET_HEADERS else redacted(value[:_LONGEST_VALUE].decode("latin-1")),
        )
        for name, value in islice(headers, _MOST_HEADERS)
    )


def shown(text: str) -> str:
    """Return a path or query as it may be kept and logged: not too long, and without a key."""
    return redacted(text[:_LONGEST_PATH])
