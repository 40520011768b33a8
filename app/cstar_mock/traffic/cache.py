"""A cache with a bound in bytes: the least recently used entries go first."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRY_BYTES = 400
"""Bytes that an entry takes beside its value: the key, a tuple, a number, and a place in the table."""


class Cache(Generic[K, V]):
    """Values by key. For one thread."""

    def __init__(self) -> None:
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, size: int, most: int) -> None:
        """Keep a value, and drop others until all fit; a value that never fits is not kept.

        Args:
            key: its key.
            value: what to keep.
            size: bytes that the value takes.
            most: bytes that all entries together may take.
        """
        self.pop(key)
        size += ENTRY_BYTES
        if size > most:
            return
        self._entries[key] = value, size
        self._bytes += size
        while self._bytes > most:
            self._bytes -= self._entries.popitem(last=False)[1][1]

    def pop(self, key: K) -> None:
        """Drop a key, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[1]

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self._bytes = 0
