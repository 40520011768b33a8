"""Rate limits: counting a request of a key, and the headers of its answer.

The counters themselves are `state`'s: in this process, or shared with others.

A window lasts from the whole second of its first request to the same second one length later, on real time
plus whatever the team's clock was advanced by; freezing the clock does not stop it (contract §4).
"""

import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from limits import RateLimitItemPerSecond
from slowapi.errors import RateLimitExceeded
from slowapi.wrappers import Limit
from starlette.requests import Request

from cstar_mock.contract import clock
from cstar_mock.contract.vocabulary import KeyType
from cstar_mock.settings import Settings
from cstar_mock.traffic.authentication import Caller

_NO_OWN: Mapping[str, Any] = {}
_HEADER_LINES = b"".join([b"x-ratelimit-%s: %%d\r\n" % name for name in (b"limit", b"remaining", b"reset", b"window")])


class Hit(NamedTuple):
    """The state of a counter after a hit.

    Attributes:
        within: whether the hit is one of those that the window allows.
        remaining: how many more it allows.
        end: when the window ends, in seconds of the counter's clock.
        now: the second in which the hit was counted, on the same clock.
    """

    within: bool
    remaining: int
    end: int
    now: int


class Windows(Protocol):
    """Counters by name, each in its own fixed window.

    Each method raises StateUnavailable if the counters are shared and can't be reached.
    """

    async def hit(self, name: str, amount: int, window: int, advanced: int = 0) -> Hit:
        """Count one hit, in a new window if the last one has ended.

        Args:
            name: the counter's; another amount does not begin a new window.
            amount: hits that a window allows.
            window: length of a new window in seconds.
            advanced: seconds that the counter's clock is ahead of real time.
        """

    async def give_back(self, name: str, end: int) -> None:
        """Take one hit back, if the window that it was counted in, given by its end, has not been replaced."""

    async def clear(self, names: Iterable[str]) -> None:
        """Forget counters: the next hit begins a new window."""


class RateLimitStatus(NamedTuple):
    """The state of a key's window, as the headers of a response have it.

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

    def header_lines(self) -> bytes:
        """Return the four `X-RateLimit-*` headers [site], as lines of a response's head."""
        return _HEADER_LINES % (self.limit, self.remaining, self.reset, self.window)


class RateLimiter:
    """Counts requests against their key's limit."""

    def __init__(self, settings: Settings, windows: Windows) -> None:
        self._window = settings.rate_limit_window
        self._amounts = {
            KeyType.SECRET.value: settings.secret_rate_limit,
            KeyType.PUBLISHABLE.value: settings.publishable_rate_limit,
        }
        self._windows = windows

    async def count(self, caller: Caller) -> RateLimitStatus | None:
        """Count one request of the caller, and return the state of its key's window; None if its team has no limits.

        Raises:
            StateUnavailable: the counters are shared, and can't be reached.
        """
        own = caller.rate_limits or _NO_OWN
        if not own.get("enabled", True):
            return None
        amount = caller.rate_limit or own.get(caller.key_type) or self._amounts[caller.key_type]
        window = own.get("window") or self._window
        advanced = caller.clock.advanced // clock.SECOND
        within, remaining, end, now = await self._windows.hit(caller.key_id, amount, window, advanced)
        # The reset is on the client's clock, which has no advances.
        return RateLimitStatus(amount, remaining, end - advanced, window, end - now, not within)

    async def forget(self, key_ids: Iterable[str]) -> None:
        """Begin new windows for these keys.

        Raises:
            StateUnavailable: the counters are shared, and can't be reached.
        """
        await self._windows.clear(key_ids)


def used_up(status: RateLimitStatus, seconds: int) -> RateLimitStatus:
    """Return the status of a window that is used up for a number of seconds, as a fault rule wants it."""
    return status._replace(remaining=0, reset=int(time.time()) + seconds, retry_after=seconds)


def exceeded(status: RateLimitStatus) -> RateLimitExceeded:
    """Return slowapi's exception for a request over its limit; `http.errors` answers it with the documented 429."""
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
def _limit(amount: int, window: int) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(amount, window)


def _never_asked(request: Request) -> str:
    raise AssertionError(f"the key is known before slowapi could ask {request.url.path} for it")
