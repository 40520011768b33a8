"""What the key ring asks the store for, and what it keeps."""

import asyncio
from collections.abc import Mapping

from cstar_mock.store.database import Limits
from cstar_mock.traffic.authentication import KeyRing


class EmptyStore:
    """A store without keys."""

    embedded = True
    limits = Limits()

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.writes = 0

    def version(self) -> int:
        return self.writes

    async def read(self, _work: object, parameters: Mapping[str, bytes]) -> list[object]:
        self.asked.append(parameters["digest"])
        return []


def test_the_last_unknown_key_is_not_looked_up_again_before_a_write() -> None:
    store = EmptyStore()
    ring = KeyRing(store)  # type: ignore[arg-type]

    async def ask(*keys: bytes) -> None:
        for key in keys:
            assert await ring.find(key) is None

    asyncio.run(ask(b"a", b"a", b"b", b"b", b"a"))
    assert store.asked == [b"a", b"b", b"a"]
    store.writes += 1  # the key may have been created
    asyncio.run(ask(b"a", b"a"))
    assert store.asked == [b"a", b"b", b"a", b"a"]
