"""The cache of answers: one is fresh while nothing is written to the team, and no row enters or leaves the window.

The first is told by the team's revision, which grows with every write to it, by whichever process. The second is told
by the instants from which to which an answer holds: forever if the clock is frozen.
"""

from dataclasses import dataclass
from typing import NamedTuple

from cstar_mock import bounds
from cstar_mock.contract.clock import Instant
from cstar_mock.contract.periods import Period
from cstar_mock.contract.vocabulary import Environment
from cstar_mock.traffic.authentication import Caller
from cstar_mock.traffic.cache import Cache

_LIVE, _TEST = Environment.LIVE.value, Environment.TEST.value
_ANSWER_BYTES = 500
"""Bytes of an answer beside its data."""


class Asked(NamedTuple):
    """The question of a request, however its query is written.

    Attributes:
        endpoint: `overview` or `agents`.
        period: of an overview.
    """

    endpoint: str
    period: Period | None = None


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """The data of a 200.

    Attributes:
        data: as JSON.
        revision: the team's, before the data were read.
        since: the instant of the team's clock that the data were computed for. The host's clock may go back behind it.
        until: when, by the team's clock, a row enters or leaves the window; None for never.
    """

    data: bytes
    revision: int
    since: Instant
    until: Instant | None

    def is_fresh(self, caller: Caller) -> bool:
        """Whether the same request of this caller would have the same data now."""
        if self.revision != caller.revision:
            return False
        now = caller.clock.now()
        return self.since <= now and (self.until is None or now < self.until)


class AnswerCache:
    """The last answers, one for each team, environment, endpoint and period, whichever key asked."""

    def __init__(self) -> None:
        self._answers: Cache[tuple[str, str, Asked], CachedAnswer] = Cache()

    def get(self, caller: Caller, asked: Asked) -> CachedAnswer | None:
        """Return the last answer to a caller's question, fresh or stale, or None."""
        return self._answers.get((caller.team_id, caller.environment, asked))

    def put(self, caller: Caller, asked: Asked, answer: CachedAnswer) -> None:
        """Keep an answer."""
        size = _ANSWER_BYTES + len(answer.data)
        self._answers.put((caller.team_id, caller.environment, asked), answer, size, bounds.CACHED_ANSWER_BYTES)

    def has(self, team_id: str, asked: Asked) -> bool:
        """Whether there is an answer for any environment of a team, fresh or not."""
        return (team_id, _LIVE, asked) in self._answers or (team_id, _TEST, asked) in self._answers
