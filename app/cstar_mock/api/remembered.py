"""Answers that provably still hold: asked at the same instant of a store that has not been written to since.

A frozen clock gives the same instant, as the documented data set has it, and most tests do. Answers of a running
clock are computed each time.
"""

from collections.abc import Hashable

from starlette.types import Scope

from cstar_mock.database import Database
from cstar_mock.security import Caller, digest_of

_MOST = 10_000


class Remembered:
    """Data as JSON, by what was asked; and requests whose answer they are, by what was sent."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._data: dict[Hashable, bytes] = {}
        self._requests: dict[Hashable, tuple[Caller, bytes]] = {}
        self._version: object = None

    def get(self, question: Hashable) -> bytes | None:
        """Return the data, if the store has not been written to since they were put."""
        self._forget_what_may_not_hold()
        return self._data.get(question)

    def put(self, question: Hashable, caller: Caller, data: bytes) -> None:
        """Remember data that were read just now, without the loop running in between."""
        if self._version is not None and caller.clock.frozen_at is not None:
            self._data[question] = data

    def link(self, scope: Scope, caller: Caller, question: Hashable) -> None:
        """Remember that this request, sent again, has the data of the question for its answer."""
        data = self._data.get(question)
        if data is not None:
            self._requests[_sent(scope)] = caller, data

    def replay(self, scope: Scope) -> tuple[Caller, bytes] | None:
        """Return caller and data of a request that was sent before, if they still hold."""
        if not self._requests:
            return None
        self._forget_what_may_not_hold()
        found = self._requests.get(_sent(scope))
        return None if found is None or found[0].expired() else found

    def _forget_what_may_not_hold(self) -> None:
        version = self._database.version()
        if version != self._version or len(self._data) + len(self._requests) >= _MOST:
            self._data.clear()
            self._requests.clear()
            self._version = version


def _sent(scope: Scope) -> Hashable:
    """Return what tells a request from others: its path, its query, and who sends it."""
    keys = [digest_of(value) for name, value in scope["headers"] if name == b"authorization"]
    return scope["path"], scope["query_string"], *keys
