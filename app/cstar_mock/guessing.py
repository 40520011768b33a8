"""Against guessing keys and control tokens: an address may be refused so often a minute, and then has to wait.

While it waits, nothing that it sends is looked up but what was accepted from it before. So a guess is not tested,
even if it is right, and clients at work behind the same address go on (docs/decisions/0014-…).
"""

import ipaddress
import time
from collections import OrderedDict

from cstar_mock import bounds, errors
from cstar_mock.errors import ApiError
from cstar_mock.rate_limit import Windows

WINDOW = 60
"""Seconds in which refusals are counted together."""


class GuessLimiter:
    """Who was refused too often, and what was accepted from whom."""

    def __init__(self, name: str, amount: int, windows: Windows) -> None:
        """Make a limiter.

        Args:
            name: of what is guessed; limiters of different names share no count.
            amount: refusals a minute of one address; 0 for any number.
            windows: where they are counted.
        """
        self._name = name
        self._amount = amount
        self._windows = windows
        self._waiting: OrderedDict[str, float] = OrderedDict()
        self._accepted: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def check(self, client: tuple[str, int] | None, digest: bytes) -> None:
        """Refuse to test a secret, by its digest, for an address that has to wait.

        Raises:
            ApiError: RATE_LIMIT_EXCEEDED.
        """
        if not self._waiting:
            return
        address = network(client)
        seconds = self._waiting.get(address, 0) - time.monotonic()
        if seconds > 0 and (address, digest) not in self._accepted:
            rounded = int(seconds) + 1
            raise ApiError(errors.RATE_LIMIT_EXCEEDED, headers={"Retry-After": str(rounded)}, **errors.waiting(rounded))

    def accepted(self, client: tuple[str, int] | None, digest: bytes) -> None:
        """Remember that a secret was right. Only secrets that are right come here, so guessing drives none out."""
        if not self._amount:
            return
        self._accepted[network(client), digest] = None
        if len(self._accepted) > bounds.MOST_GUESSERS:
            self._accepted.popitem(last=False)

    async def refused(self, client: tuple[str, int] | None) -> None:
        """Count a secret that was wrong."""
        if not self._amount:
            return
        address = network(client)
        hit = await self._windows.hit(f"refused {self._name}:{address}", self._amount, WINDOW)
        if not hit.remaining:
            self._waiting.pop(address, None)
            self._waiting[address] = time.monotonic() + hit.end - hit.now
            if len(self._waiting) > bounds.MOST_GUESSERS:
                self._waiting.popitem(last=False)


def network(client: tuple[str, int] | None) -> str:
    """Return what counts as one address: of IPv6 the first 64 bits, as one customer has all the others."""
    host = client[0] if client else ""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
