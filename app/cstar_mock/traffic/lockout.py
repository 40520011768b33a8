"""Lock-out: an address with too many wrong keys or control tokens in a minute has to wait.

While it waits, only the secrets that were accepted from it before are looked up. So a guess is not tested, even if it
is right, and other clients behind the same address go on (docs/decisions/0014-…).

A guess is counted before it is tested, and given back if it was right. So the limit is exact, however many connections
guess at the same time, and for all workers together if they share their state.
"""

import asyncio
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TypeVar
from weakref import WeakValueDictionary

from cstar_mock import bounds
from cstar_mock.contract import errors
from cstar_mock.traffic.rate_limit import Hit, Windows

T = TypeVar("T")

WINDOW = 60
"""Seconds in which refusals are counted together."""


class Lockout:
    """The addresses that are locked out, and the secrets that were accepted from each address."""

    def __init__(self, name: str, amount: int, windows: Windows) -> None:
        """Start with no address locked out.

        Args:
            name: the kind of secret; lock-outs of different names share no count.
            amount: most refusals of an address in a minute; 0 disables the lock-out.
            windows: the counters of refusals.
        """
        self._name = name
        self._amount = amount
        self._windows = windows
        self._waiting: OrderedDict[str, float] = OrderedDict()
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def has_accepted(self, client: tuple[str, int] | None, digest: bytes) -> bool:
        """Whether a secret was accepted from an address before, or the lock-out is disabled."""
        return not self._amount or (network(client), digest) in self._accepted

    async def test(
        self, client: tuple[str, int] | None, digest: bytes, look_up: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        """Look a secret up, and return the result; None if it is wrong.

        Secrets of an address that were not right before are tested one after the other, so that many right ones at
        once are not taken for guesses.

        Args:
            client: who sent it.
            digest: the digest of the secret.
            look_up: the test; None means that the secret is wrong.

        Raises:
            ApiError: RATE_LIMIT_EXCEEDED, the address has to wait; SERVICE_UNAVAILABLE, its earlier tests take long.
            StateUnavailable: the counters are shared, and can't be reached.
        """
        if not self._amount:
            return await look_up()
        address = network(client)
        if (address, digest) in self._accepted:
            return await self._look_up_again(address, digest, look_up)
        self._check(address)
        lock = self._locks.get(address)
        if lock is None:
            lock = self._locks[address] = asyncio.Lock()
        await _acquire(lock)
        try:
            if (address, digest) in self._accepted:  # the same secret came on another connection
                return await self._look_up_again(address, digest, look_up)
            self._check(address)
            return await self._count_and_look_up(address, digest, look_up)
        finally:
            lock.release()

    async def _look_up_again(self, address: str, digest: bytes, look_up: Callable[[], Awaitable[T | None]]) -> T | None:
        found = await look_up()
        if found is None:
            self._accepted.pop((address, digest), None)
        return found

    async def _count_and_look_up(
        self, address: str, digest: bytes, look_up: Callable[[], Awaitable[T | None]]
    ) -> T | None:
        name = f"refused {self._name}:{address}"
        hit = await self._windows.hit(name, self._amount, WINDOW)
        if not hit.within:
            self._let_wait(address, hit)
            self._check(address)
        is_wrong = False
        try:
            found = await look_up()
            is_wrong = found is None
        finally:
            if not is_wrong:
                await self._windows.give_back(name, hit.end)
        if found is not None:
            self._accept(address, digest)
        elif not hit.remaining:
            self._let_wait(address, hit)
        return found

    def _check(self, address: str) -> None:
        seconds = self._waiting.get(address, 0) - time.monotonic()
        if seconds > 0:
            raise errors.too_many_requests(int(seconds) + 1)

    def _accept(self, address: str, digest: bytes) -> None:
        # Only secrets that are right come here, so guessing drives none out.
        self._accepted[address, digest] = None
        if len(self._accepted) > bounds.MOST_LOCKOUT_ADDRESSES:
            self._accepted.popitem(last=False)

    def _let_wait(self, address: str, hit: Hit) -> None:
        self._waiting.pop(address, None)
        self._waiting[address] = time.monotonic() + hit.end - hit.now
        if len(self._waiting) > bounds.MOST_LOCKOUT_ADDRESSES:
            self._waiting.popitem(last=False)


async def _acquire(lock: asyncio.Lock) -> None:
    if not lock.locked():
        await lock.acquire()  # at once
        return
    try:
        async with asyncio.timeout(bounds.LOCKOUT_QUEUE_SECONDS):
            await lock.acquire()
    except TimeoutError:
        raise errors.unavailable() from None


def network(client: tuple[str, int] | None) -> str:
    """Return the network that counts as one address: of IPv6 the first 64 bits, as one customer has the rest.

    Clients without an IP address, such as those of a Unix socket or of a proxy that names them otherwise, are one.
    """
    host = client[0] if client else ""
    return _network(host) if len(host) <= bounds.LONGEST_ADDRESS else ""


@lru_cache(maxsize=1024)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
