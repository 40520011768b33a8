"""Answers that provably still hold: asked at the same instant of a store that has not been written to since.

A frozen clock gives the same instant, as the documented data set has it, and most tests do. Answers of a running
clock are computed each time.
"""

from collections.abc import Hashable

from cstar_mock.clock import TeamClock
from cstar_mock.database import Database

_MOST = 10_000


class Remembered:
    """Data as JSON, by what was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._data: dict[Hashable, bytes] = {}
        self._version: object = None

    def get(self, question: Hashable) -> bytes | None:
        """Return the data, if the store has not been written to since they were put."""
        version = self._database.version()
        if version != self._version or len(self._data) >= _MOST:
            self._data.clear()
            self._version = version
        return self._data.get(question)

    def put(self, question: Hashable, clock: TeamClock, data: bytes) -> None:
        """Remember data that were read just now, without the loop running in between."""
        if self._version is not None and clock.frozen_at is not None:
            self._data[question] = data
