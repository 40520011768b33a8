"""Rate limits: our face over slowapi.

One `Limiter` is built for each application, and its fixed-window strategy is asked once for each authenticated
request. No slowapi middleware, decorator or default limit takes part: they skip included routers, read the
environment behind our back, and fail open on a string they can't parse (docs/decisions/0003-slowapi.md).

A window lasts from the whole second of its first request to the same second one length later, on real time
plus whatever the team's clock was advanced by; freezing the clock does not stop it (contract §4).
"""

import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from limits import RateLimitItemPerSecond
from limits.storage import Storage
from slowapi import Limiter
from slowapi.errors import RateLimitExceeded
from slowapi.wrappers import Limit
from starlette.requests import Request

from cstar_mock import clock
from cstar_mock.models import KeyType
from cstar_mock.security import Caller
from cstar_mock.settings import Settings

# The second in which the present request is counted. Read once for each request, so that the counter, the
# headers and `Retry-After` can't disagree; limits' own storages would read the wall clock several times.
_second: ContextVar[int] = ContextVar("second")
_PURGE_EVERY = 4096
_NO_OWN: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """What a request's headers say about its key's window.

    Attributes:
        limit: requests a window.
        remaining: how many are left after this one.
        reset: when the window ends, in Unix seconds.
        window: length of a window in seconds.
        retry_after: whole seconds until `reset`, at least 1.
        exceeded: whether this request is over the limit.
    """

    limit: int
    remaining: int
    reset: int
    window: int
    retry_after: int
    exceeded: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the four `X-RateLimit-*` headers [site]."""
        return [
            (b"x-ratelimit-limit", b"%d" % self.limit),
            (b"x-ratelimit-remaining", b"%d" % self.remaining),
            (b"x-ratelimit-reset", b"%d" % self.reset),
            (b"x-ratelimit-window", b"%d" % self.window),
        ]


class KeyLimit(RateLimitItemPerSecond):
    """A limit whose counter is the key's alone: changing the amount does not begin a new window."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        """Return the counter's name: the key's id."""
        return str(identifiers[0])


class WindowStorage(Storage):
    """Counters in memory, on a clock of whole seconds that can be advanced.

    Only touched from the event loop, so it needs no lock. Ended windows are dropped now and then, so that
    memory follows the number of keys in use.
    """

    STORAGE_SCHEME = ["cstar-mock-memory"]  # noqa: RUF012  (limits' own signature)

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._windows: dict[str, tuple[int, int]] = {}
        self._until_purge = _PURGE_EVERY

    @property
    def base_exceptions(self) -> type[Exception]:
        """What limits may wrap; memory raises nothing."""
        return MemoryError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in a new window if the last one has ended."""
        now = _second.get()
        count, end = self._windows.get(key, (0, 0))
        if end <= now:
            count, end = 0, now + expiry
        self._windows[key] = (count + amount, end)
        self._until_purge -= 1
        if not self._until_purge:
            self._purge()
        return count + amount

    def get(self, key: str) -> int:
        """Return the count in the present window."""
        count, end = self._windows.get(key, (0, 0))
        return count if end > _second.get() else 0

    def get_expiry(self, key: str) -> float:
        """Return when the present window ends, in seconds of the same clock."""
        _, end = self._windows.get(key, (0, 0))
        return max(end, _second.get())

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
        self._windows = {key: window for key, window in self._windows.items() if window[1] > now}


class RateLimiter:
    """Counts requests against their key's limit."""

    def __init__(self, settings: Settings) -> None:
        self._window = settings.rate_limit_window
        self._amounts = {
            KeyType.SECRET.value: settings.secret_rate_limit,
            KeyType.PUBLISHABLE.value: settings.publishable_rate_limit,
        }
        self._strategy = Limiter(
            key_func=_never_asked, strategy="fixed-window", storage_uri="cstar-mock-memory://"
        ).limiter

    def count(self, caller: Caller) -> RateLimitStatus | None:
        """Count one request of the caller, and return where its key now stands; None if its team has no limits."""
        own = caller.rate_limits or _NO_OWN
        if not own.get("enabled", True):
            return None
        amount = caller.rate_limit or own.get(caller.key_type) or self._amounts[caller.key_type]
        window = own.get("window") or self._window
        item = _limit(amount, window)
        real = int(time.time())
        advanced = caller.clock.advanced // clock.SECOND
        token = _second.set(real + advanced)
        try:
            within = self._strategy.hit(item, caller.key_id)
            end, remaining = self._strategy.get_window_stats(item, caller.key_id)
        finally:
            _second.reset(token)
        # The reset is told on the client's clock, which nobody has advanced.
        reset = int(end) - advanced
        return RateLimitStatus(amount, remaining, reset, window, reset - real, not within)

    def forget(self, key_ids: Iterable[str]) -> None:
        """Begin new windows for these keys."""
        for key_id in key_ids:
            self._strategy.clear(_limit(1, 1), key_id)


def used_up(status: RateLimitStatus, seconds: int) -> RateLimitStatus:
    """Return the status of a window that has nothing left for so many seconds, as a fault rule wants it."""
    return replace(status, remaining=0, reset=int(time.time()) + seconds, retry_after=seconds)


def exceeded(status: RateLimitStatus) -> RateLimitExceeded:
    """Return slowapi's exception for a request over its limit; `errors` answers it with the documented 429."""
    return RateLimitExceeded(
        Limit(
            limit=_limit(status.limit, status.window),
            key_func=_never_asked,
            scope=None,
            per_method=False,
            methods=None,
            error_message=None,
            exempt_when=None,
            cost=1,
            override_defaults=False,
        )
    )


@lru_cache(maxsize=1024)
def _limit(amount: int, window: int) -> KeyLimit:
    return KeyLimit(amount, window)


def _never_asked(request: Request) -> str:
    raise AssertionError(f"the key is known before slowapi could ask {request.url.path} for it")
