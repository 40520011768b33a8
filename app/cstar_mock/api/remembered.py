"""Answers that provably still hold: nothing was written to the team since, and no row has entered or left the window.

The first is told by the team's revision, which grows with every write to it, by whichever process. The second is told
by the instants from which to which an answer holds: forever if the clock is frozen.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from starlette.types import Scope

from cstar_mock import bounds
from cstar_mock.clock import Instant
from cstar_mock.security import Caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from cstar_mock.database import Database

Question: TypeAlias = "Callable[[Database, Caller, Answer | None], Awaitable[Answer]]"
"""Computes the answer for a caller's team; it may look at the answer that the same request had before."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The data of a 200.

    Attributes:
        data: as JSON.
        team_id: whose; a key can become another team's.
        revision: the team's, before the data were read.
        since: the instant of the team's clock that the data were computed for. The host's clock may go back behind it.
        until: when, by the team's clock, a row enters or leaves the window; None for never.
        question: what it answers; asked again once it does not hold any more.
    """

    data: bytes
    team_id: str
    revision: int
    since: Instant
    until: Instant | None
    question: "Question"

    def holds(self, caller: Caller) -> bool:
        """Whether the same request of this caller has the same data for its answer now."""
        if self.revision != caller.revision:
            return False
        now = caller.clock.now()
        return self.since <= now and (self.until is None or now < self.until)


class Remembered:
    """Answers by what was sent: path, query, and key."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, Answer] = {}

    def get(self, scope: Scope, key: bytes) -> Answer | None:
        """Return what such a request was answered with, whether it still holds or not.

        Args:
            scope: the request.
            key: the digest of the key that it was sent with.
        """
        return self._answers.get((scope["path"], scope["query_string"], key))

    def put(self, scope: Scope, key: bytes, answer: Answer) -> None:
        """Remember an answer."""
        if len(self._answers) >= bounds.MOST_CACHED_ANSWERS:
            self._answers.clear()
        self._answers[scope["path"], scope["query_string"], key] = answer
