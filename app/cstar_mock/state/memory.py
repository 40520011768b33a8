"""The state in the memory of this process.

Only touched from the event loop, and without an `await` inside, so it needs no lock.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from limits import RateLimitItemPerSecond
from limits.storage import Storage
from slowapi import Limiter
from starlette.requests import Request

from cstar_mock import bounds
from cstar_mock.traffic.fault_rules import ActiveRule, fails
from cstar_mock.traffic.faults import Taken
from cstar_mock.traffic.journal import Entry
from cstar_mock.traffic.rate_limit import Hit

_PURGE_EVERY = 4096
_ENDED = (0, 0, 0)
_ENTRY_BYTES = 600
"""Bytes of memory of an entry besides its size."""


class _NamedLimit(RateLimitItemPerSecond):
    """A limit whose counter has its own name: changing the amount does not begin a new window."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """Return the counter's name."""
        return str(identifiers[0])


class WindowStorage(Storage):
    """Counters in memory, on a clock of whole seconds that can be advanced.

    A window has ended, too, if real time has gone back behind its beginning. Ended windows are dropped now and then and
    when there are `MOST_WINDOWS`. If none has ended then, those that end first are dropped.
    """

    STORAGE_SCHEME = ["cstar-mock-memory"]  # noqa: RUF012  (limits' own signature)

    real = 0
    """Real time of the present hit. Read once for each, so that the counter and its headers can't disagree; limits' own
    storages would read the wall clock several times."""

    advanced = 0
    """Seconds that the counter's clock is ahead of real time."""

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._windows: dict[str, tuple[int, int, int]] = {}  # count, real beginning, end
        self._until_purge = _PURGE_EVERY

    @property
    def base_exceptions(self) -> type[Exception]:
        """The errors that limits may wrap; memory raises none."""
        return MemoryError

    def incr(self, key: str, expiry: int, amount: int = 1, **_elastic: bool) -> int:
        """Count, in a new window if the last one has ended; limits before 5.0 also passes `elastic_expiry=False`."""
        real, now = self.real, self.real + self.advanced
        self._until_purge -= 1
        if self._until_purge <= 0 or (len(self._windows) >= bounds.MOST_WINDOWS and key not in self._windows):
            self._purge()
        count, begin, end = self._windows.get(key, _ENDED)
        if end <= now or real < begin:
            count, begin, end = 0, real, now + expiry
        self._windows[key] = (count + amount, begin, end)
        return count + amount

    def get(self, key: str) -> int:
        """Return the count in the present window."""
        count, begin, end = self._windows.get(key, _ENDED)
        return count if end > self.real + self.advanced and begin <= self.real else 0

    def get_expiry(self, key: str) -> float:
        """Return the end of the present window, in seconds of the same clock."""
        *_, end = self._windows.get(key, _ENDED)
        return max(end, self.real + self.advanced)

    def window(self, key: str) -> tuple[int, int]:
        """Return the count in a counter's last window, and its end."""
        count, _, end = self._windows[key]
        return count, end

    def give_back(self, key: str, end: int) -> None:
        """Take one back in the window with this end."""
        count, begin, present_end = self._windows.get(key, _ENDED)
        if present_end == end and count:
            self._windows[key] = count - 1, begin, end

    def check(self) -> bool:
        """Memory is always healthy."""
        return True

    def reset(self) -> int:
        """Forget all counters."""
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        """Forget one counter."""
        self._windows.pop(key, None)

    def _purge(self) -> None:
        # Judged by real time: the clocks of other teams are not known here, and can only be ahead of it.
        self._until_purge = _PURGE_EVERY
        now = int(time.time())
        self._windows = {key: window for key, window in self._windows.items() if window[1] <= now < window[2]}
        if len(self._windows) >= bounds.MOST_WINDOWS:
            # Many at once: to look for each one alone would keep all requests waiting.
            by_end = sorted(self._windows.items(), key=lambda item: item[1][2])
            self._windows = dict(by_end[len(by_end) // 8 + 1 :])


class MemoryWindows:
    """Counters by name: slowapi's fixed-window strategy over our storage.

    No slowapi middleware, decorator or default limit takes part: they skip included routers, read the environment
    behind our back, and fail open on a string they can't parse (docs/decisions/0003-slowapi.md).
    """

    def __init__(self) -> None:
        self._strategy = Limiter(
            key_func=_never_asked, strategy="fixed-window", storage_uri="cstar-mock-memory://"
        ).limiter
        assert isinstance(self._strategy.storage, WindowStorage)  # noqa: S101  (that is what the URI means)
        self._storage = self._strategy.storage

    async def hit(self, name: str, amount: int, window: int, advanced: int = 0) -> Hit:
        """Count one hit, in a new window if the last one has ended."""
        item = _limit(amount, window)
        real = self._storage.real = int(time.time())
        self._storage.advanced = advanced
        within = self._strategy.hit(item, name)
        count, end = self._storage.window(name)
        return Hit(within, max(0, amount - count), end, real + advanced)

    async def give_back(self, name: str, end: int) -> None:
        """Take one hit back, if its window has not been replaced."""
        self._storage.give_back(name, end)

    async def clear(self, names: Iterable[str]) -> None:
        """Forget counters."""
        for name in names:
            self._strategy.clear(_limit(1, 1), name)


class MemoryFaultCounts:
    """Counts by team and rule; the team whose rules acted longest ago is the first one."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, dict[str, tuple[int, int]]] = OrderedDict()
        self._total = 0

    async def take(self, team_id: str, candidates: Sequence[ActiveRule]) -> Taken | None:
        """Let the first rule that is not spent decide about one more request; None if all are spent."""
        counts = await self.counts(team_id)
        for active in candidates:
            seen, failed = counts.get(active.id, (0, 0))
            most = active.rule.fail_request_count
            if most is None or failed < most:
                this_one = fails(active.rule, seen)
                self._put(team_id, active.id, (seen + 1, failed + this_one))
                return Taken(active, seen, this_one)
        return None

    async def counts(self, team_id: str) -> Mapping[str, tuple[int, int]]:
        """Return how many requests each rule of a team has decided about, and how many of them failed."""
        return self._counts.get(team_id, {})

    async def forget(self, team_id: str, rule_id: str | None = None) -> None:
        """Forget the counts of a team's rules, or of one of them."""
        if rule_id is None:
            self._total -= len(self._counts.pop(team_id, ()))
        elif self._counts.get(team_id, {}).pop(rule_id, None) is not None:
            self._total -= 1

    def _put(self, team_id: str, rule_id: str, counts: tuple[int, int]) -> None:
        if rule_id not in self._counts.get(team_id, ()):
            while self._total >= bounds.MOST_FAULT_COUNTS:
                _, dropped = self._counts.popitem(last=False)
                self._total -= len(dropped)
            self._total += 1
        self._counts.setdefault(team_id, {})[rule_id] = counts
        self._counts.move_to_end(team_id)


class _Ring:
    """The entries of one team by their ids, in the order of their first recording."""

    __slots__ = ("dropped", "entries")

    def __init__(self) -> None:
        self.entries: OrderedDict[str, Entry] = OrderedDict()
        self.dropped = 0


class MemoryJournal:
    """A ring of entries for each team."""

    def __init__(self, size: int) -> None:
        """Make an empty journal with rings of `size` entries; 0 keeps nothing."""
        self.size = size
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._count = 0
        self._bytes = 0

    async def record(self, team_id: str, entry: Entry) -> None:
        """Add an entry to a team's ring, in the place of the oldest one if the ring is full."""
        ring = self._rings.get(team_id)
        if ring is None:
            if len(self._rings) >= bounds.MOST_JOURNAL_TEAMS:
                self._forget(next(iter(self._rings)))
            ring = self._rings[team_id] = _Ring()
        else:
            self._rings.move_to_end(team_id)
        if len(ring.entries) >= self.size:
            self._drop_first(ring)
        ring.entries[entry.id] = entry
        self._count += 1
        self._bytes += _ENTRY_BYTES + entry.size
        while self._count > bounds.MOST_JOURNAL_ENTRIES or self._bytes > bounds.JOURNAL_BYTES:
            quietest, ring = next(iter(self._rings.items()))
            self._drop_first(ring)
            if not ring.entries:
                del self._rings[quietest]

    async def update(self, team_id: str, entry: Entry) -> None:
        """Replace the entry with the same id; do nothing if it was dropped or cleared."""
        ring = self._rings.get(team_id)
        if ring is not None and entry.id in ring.entries:
            ring.entries[entry.id] = entry

    async def entries(self, team_id: str) -> list[Entry]:
        """Return a team's entries, the last one to arrive first."""
        ring = self._rings.get(team_id)
        return [] if ring is None else sorted(ring.entries.values(), key=attrgetter("arrived"))[::-1]

    async def dropped(self, team_id: str) -> int:
        """Return how many entries a team's ring has dropped since it was cleared."""
        ring = self._rings.get(team_id)
        return 0 if ring is None else ring.dropped

    async def clear(self, team_id: str | None = None) -> None:
        """Forget a team's entries, or all of them."""
        for name in list(self._rings) if team_id is None else [team_id]:
            self._forget(name)

    def _forget(self, team_id: str) -> None:
        ring = self._rings.pop(team_id, None)
        if ring is not None:
            self._count -= len(ring.entries)
            self._bytes -= sum(_ENTRY_BYTES + entry.size for entry in ring.entries.values())

    def _drop_first(self, ring: _Ring) -> None:
        _, entry = ring.entries.popitem(last=False)
        ring.dropped += 1
        self._count -= 1
        self._bytes -= _ENTRY_BYTES + entry.size


@lru_cache(maxsize=1024)
def _limit(amount: int, window: int) -> _NamedLimit:
    return _NamedLimit(amount, window)


def _never_asked(request: Request) -> str:
    raise AssertionError(f"the name is known before slowapi could ask {request.url.path} for it")
