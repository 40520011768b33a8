"""The journal in Valkey (or Redis): shared by several workers, or several hosts.

A team with entries has a hash of them by id, and a sorted set of the ids by arrival. Three small keys are common to all
teams: the time of each team's last entry, the bytes of its entries, and the number of those that were dropped.
"""

import time

from pydantic_core import from_json, to_json
from valkey.asyncio import Valkey

from cstar_mock import bounds
from cstar_mock.state.valkey import DAY, Engine, Script, key_of
from cstar_mock.traffic.journal import Entry, RequestState

_ENTRY_BYTES = 300
"""Bytes of Valkey's memory that an entry takes besides its JSON."""

_PAGE = 1_000

# The keys of the team `name` begin with KEYS[1]. The bytes of all teams together are those of the team `all`, which no
# id is equal to.
_LIBRARY = """
local prefix = KEYS[1]
local teams, bytes, dropped = prefix .. 'teams', prefix .. 'bytes', prefix .. 'dropped'
local function entries_of(team) return prefix .. 'entries:' .. team end
local function order_of(team) return prefix .. 'order:' .. team end
local function grow(team, by)
  redis.call('HINCRBY', bytes, team, by)
  redis.call('HINCRBY', bytes, 'all', by)
end
local function forget(team)
  local size = tonumber(redis.call('HGET', bytes, team) or 0)
  if size > 0 then grow(team, -size) end
  redis.call('HDEL', bytes, team)
  redis.call('HDEL', dropped, team)
  redis.call('ZREM', teams, team)
  redis.call('UNLINK', entries_of(team), order_of(team))
end
local function drop_first(team, overhead)
  local id = redis.call('ZPOPMIN', order_of(team))[1]
  if not id then return forget(team) end  -- it has expired
  local size = redis.call('HSTRLEN', entries_of(team), id)
  redis.call('HDEL', entries_of(team), id)
  redis.call('HINCRBY', dropped, team, 1)
  grow(team, -size - overhead)
end
"""

# Arguments: the team, the id, the entry, how many microseconds ago the request arrived, the most entries of a team, the
# most bytes of all, the bytes that an entry takes besides, the seconds that a quiet journal is kept.
_RECORD = Script(
    _LIBRARY
    + """
local team, id, entry = ARGV[1], ARGV[2], ARGV[3]
local most, most_bytes, overhead, kept = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local now = redis.call('TIME')
for _, quiet in ipairs(redis.call('ZRANGEBYSCORE', teams, '-inf', now[1] - kept, 'LIMIT', 0, 10)) do
  forget(quiet)
end
redis.call('ZADD', order_of(team), now[1] * 1000000 + now[2] - ARGV[4], id)
redis.call('HSET', entries_of(team), id, entry)
redis.call('ZADD', teams, now[1] .. '.' .. string.format('%06d', now[2]), team)
grow(team, #entry + overhead)
if redis.call('ZCARD', order_of(team)) > most then drop_first(team, overhead) end
while tonumber(redis.call('HGET', bytes, 'all') or 0) > most_bytes do
  drop_first(redis.call('ZRANGE', teams, 0, 0)[1], overhead)
end
for _, key in ipairs({order_of(team), entries_of(team), teams, bytes, dropped}) do
  redis.call('EXPIRE', key, kept)
end
"""
)

# Arguments: the team, the id, the entry.
_UPDATE = Script(
    _LIBRARY
    + """
local team, id, entry = ARGV[1], ARGV[2], ARGV[3]
local size = redis.call('HSTRLEN', entries_of(team), id)
if size > 0 then
  redis.call('HSET', entries_of(team), id, entry)
  grow(team, #entry - size)
end
"""
)

# Arguments: the team, the first and the last place, counted from the newest entry.
_READ = Script(
    _LIBRARY
    + """
local ids = redis.call('ZREVRANGE', order_of(ARGV[1]), ARGV[2], ARGV[3])
if #ids == 0 then return {} end
return redis.call('HMGET', entries_of(ARGV[1]), unpack(ids))
"""
)

_FORGET = Script(_LIBRARY + "forget(ARGV[1])")


class ValkeyJournal:
    """The journals of all teams; a team that is quiet for a day has none."""

    def __init__(self, engine: Engine, size: int) -> None:
        """Keep `size` entries of each team; 0 keeps nothing."""
        self.size = size
        self._engine = engine

    async def record(self, team_id: str, entry: Entry) -> None:
        """Add an entry to a team's journal, in the place of the oldest one if the journal is full.

        Entries are in the order of their arrival by the clock of Valkey: it is the same for all hosts, and a request
        that was sent after the answer to another one never comes before that.
        """
        passed = int((time.perf_counter() - entry.arrived) * 1_000_000)
        await self._run(
            _RECORD, team_id, entry.id, _written(entry), passed, self.size, bounds.JOURNAL_BYTES, _ENTRY_BYTES, DAY
        )

    async def update(self, team_id: str, entry: Entry) -> None:
        """Replace the entry with the same id; do nothing if it was dropped or cleared."""
        await self._run(_UPDATE, team_id, entry.id, _written(entry))

    async def entries(self, team_id: str) -> list[Entry]:
        """Return a team's entries, the last one to arrive first."""
        found: dict[str, Entry] = {}
        for start in range(0, self.size, _PAGE):
            page = await self._run(_READ, team_id, start, start + _PAGE - 1)
            # Entries recorded between two pages move the rest: some are read twice, but all are read.
            found |= {entry.id: entry for entry in map(_read, page)}
            if len(page) < _PAGE:
                break
        return list(found.values())

    async def dropped(self, team_id: str) -> int:
        """Return how many entries a team's journal has dropped for newer ones since it was cleared."""
        return int(await self._engine.send("HGET", key_of("journal", "dropped"), team_id) or 0)

    async def clear(self, team_id: str | None = None) -> None:
        """Forget a team's entries, or all of them."""
        if team_id is not None:
            await self._run(_FORGET, team_id)
            return

        async def unlink_all(client: Valkey) -> None:
            keys = [key async for key in client.scan_iter(match=key_of("journal", "*"), count=_PAGE)]
            if keys:
                await client.unlink(*keys)

        await self._engine.run(unlink_all)

    async def _run(self, script: Script, *arguments: str | int | bytes) -> list[bytes]:
        answer: list[bytes] = await script.run(self._engine, key_of("journal", ""), *arguments)
        return answer


def _written(entry: Entry) -> bytes:
    return to_json([getattr(entry, name) for name in Entry._fields])


def _read(text: bytes) -> Entry:
    values = dict(zip(Entry._fields, from_json(text), strict=True))
    headers = tuple((name, value) for name, value in values.pop("headers"))
    return Entry(headers=headers, state=RequestState(values.pop("state")), **values)
