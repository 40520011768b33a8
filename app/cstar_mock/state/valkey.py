"""The state in Valkey (or Redis): shared by several workers, or several hosts.

Each decision with its writes is one Lua script, and so one round trip that no other command interrupts. No command is
sent twice: a count must not grow by two because an answer was lost.
"""

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import NoScriptError, ValkeyError

from cstar_mock.contract.errors import StateUnavailable
from cstar_mock.traffic.batches import Batches
from cstar_mock.traffic.fault_rules import ActiveRule, drawn
from cstar_mock.traffic.faults import Taken
from cstar_mock.traffic.rate_limit import Hit

T = TypeVar("T")

_PREFIX = "cstar-mock"
_MOST_CONNECTIONS = 64
DAY = 86_400
"""Seconds."""
_BATCH = 100
"""Most scripts in one pipeline."""
_FAULTS_SECONDS = 30 * DAY
_BLOCK = 64

# A host that vanished closes no connection: without probes, each pooled one would cost a request its time-out.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2))
    if hasattr(socket, name)
}


class Engine:
    """The connections of one application to its Valkey."""

    def __init__(self, url: str, timeout: float) -> None:
        """Prepare connections; none is opened before the first command.

        Args:
            url: `valkey://…` or `redis://…`, with TLS `valkeys://…` or `rediss://…`.
            timeout: seconds that a command may take, waiting for a connection and connecting included.

        Raises:
            ValueError: the options in the URL's query are not those of a connection.
        """
        self._url = url
        self._timeout = timeout
        self._client: Valkey | None = None
        self._scripts = Batches(self._evaluate_all, _BATCH)
        try:
            self._new_client().connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (TypeError, ValueError, ValkeyError):
            # The reason might quote a part of the URL.
            raise ValueError("--state: what follows the `?` is not an option of a connection to Valkey") from None

    async def open(self) -> None:
        """Keep connections from now on, for the running event loop, until they are closed."""
        self._client = self._new_client()

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def evaluate(self, script: "Script", key: str, arguments: Sequence[str | int | bytes]) -> Any:
        """Run a script on one key, together with those of other requests, and return its answer.

        Raises:
            StateUnavailable: there is no answer within the time-out, or it is a refusal.
        """
        try:
            return await self._scripts.ask(_Call(script, key, arguments), self._timeout)
        except TimeoutError:
            raise StateUnavailable from self._too_late()

    async def _evaluate_all(self, calls: "Sequence[_Call]") -> list[Any]:
        async def pipeline(client: Valkey) -> list[Any]:
            answers = await _piped(
                client, [("EVALSHA", call.script.digest, 1, call.key, *call.arguments) for call in calls]
            )
            unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:  # nothing was done
                whole = [("EVAL", calls[n].script.text, 1, calls[n].key, *calls[n].arguments) for n in unknown]
                for number, answer in zip(unknown, await _piped(client, whole), strict=True):
                    answers[number] = answer
            return [_refused(answer) if isinstance(answer, ValkeyError) else answer for answer in answers]

        return await self.run(pipeline)

    async def check(self) -> None:
        """Check that Valkey answers.

        Raises:
            StateUnavailable: no answer came.
        """
        await self.send("PING")

    async def send(self, *command: str | int | bytes) -> Any:
        """Send a command, and return its answer.

        Raises:
            StateUnavailable: there is no answer within the time-out, or it is a refusal.
        """
        return await self.run(lambda client: client.execute_command(*command))  # type: ignore[no-untyped-call]

    async def run(self, commands: Callable[[Valkey], Awaitable[T]]) -> T:
        """Send commands that belong together, and return their result.

        Raises:
            StateUnavailable: there is no answer within the time-out, or it is a refusal.
        """
        try:
            async with asyncio.timeout(self._timeout):
                if self._client is not None:
                    return await commands(self._client)
                # Before `open`, no connection outlives its command: there would be no one to close it.
                async with self._new_client() as client:
                    return await commands(client)
        except TimeoutError:
            raise StateUnavailable from self._too_late()
        except (ValkeyError, OSError) as error:
            raise StateUnavailable from error

    def _too_late(self) -> TimeoutError:
        return TimeoutError(f"no answer within {self._timeout:g} s")

    def _new_client(self) -> Valkey:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=_MOST_CONNECTIONS,
            timeout=None,  # `run` limits the whole, which costs less than limiting each step
            socket_timeout=None,
            socket_keepalive=True,
            socket_keepalive_options=_KEEPALIVE,
        )
        return Valkey.from_pool(pool)


class Script:
    """A Lua script, sent whole only if the engine does not know it yet."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, engine: Engine, key: str, *arguments: str | int | bytes) -> Any:
        """Run it on one key, and return its answer.

        Raises:
            StateUnavailable: no answer came.
        """
        return await engine.evaluate(self, key, arguments)


class _Call(NamedTuple):
    """One run of a script."""

    script: Script
    key: str
    arguments: Sequence[str | int | bytes]


async def _piped(client: Valkey, commands: Iterable[tuple[str | int | bytes, ...]]) -> list[Any]:
    """Send commands in one go; the answer to one that is refused is the exception."""
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    return answers


def _refused(error: ValkeyError) -> StateUnavailable:
    unavailable = StateUnavailable()
    unavailable.__cause__ = error
    return unavailable


# The engine's own clock, so that hosts whose clocks differ agree. The key ends with its window: in real time, which
# the team's clock can only be ahead of. A window has ended, too, if real time has gone back behind its beginning.
_HIT = Script("""
local length, advanced = tonumber(ARGV[1]), tonumber(ARGV[2])
local real = tonumber(redis.call('TIME')[1])
local now = real + advanced
local found = redis.call('HMGET', KEYS[1], 'begins', 'ends')
local begins, ends = tonumber(found[1]) or 0, tonumber(found[2]) or 0
if ends <= now or real < begins then
  ends = now + length
  redis.call('HSET', KEYS[1], 'count', 0, 'begins', real, 'ends', ends)
  redis.call('EXPIREAT', KEYS[1], ends - advanced)
end
return {redis.call('HINCRBY', KEYS[1], 'count', 1), ends, now}
""")


_GIVE_BACK = Script("""
if redis.call('HGET', KEYS[1], 'ends') == ARGV[1] then redis.call('HINCRBY', KEYS[1], 'count', -1) end
""")


class ValkeyWindows:
    """Counters by name: a hash of each, with its count and its window's end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def hit(self, name: str, amount: int, window: int, advanced: int = 0) -> Hit:
        """Count one hit, in a new window if the last one has ended."""
        count, end, now = await _HIT.run(self._engine, key_of("window", name), window, advanced)
        return Hit(count <= amount, max(0, amount - count), end, now)

    async def give_back(self, name: str, end: int) -> None:
        """Take one hit back, if its window has not been replaced."""
        await _GIVE_BACK.run(self._engine, key_of("window", name), end)

    async def clear(self, names: Iterable[str]) -> None:
        """Forget counters."""
        keys = [key_of("window", name) for name in names]
        if keys:
            await self._engine.send("UNLINK", *keys)


# For each candidate: id, most failures (-1: any number), passes at first, 1 if every other one fails, and, if chance
# decides, what it decides from a number on. Returns the candidate, the request's number and whether it fails; without
# the latter if what chance decides about that number is not known here, and then nothing is counted.
_TAKE = Script("""
for i = 2, #ARGV, 6 do
  local id, most, passes = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local found = redis.call('HMGET', KEYS[1], id .. '/seen', id .. '/failed')
  local seen, failed = tonumber(found[1]) or 0, tonumber(found[2]) or 0
  if most < 0 or failed < most then
    local fails = '0'
    if seen >= passes then
      fails = '1'
      if ARGV[i + 3] == '0' then
        local place = seen - tonumber(ARGV[i + 4]) + 1
        fails = place > 0 and string.sub(ARGV[i + 5], place, place) or ''
        if fails == '' then return {(i - 2) / 6, seen} end
      end
    end
    redis.call('HSET', KEYS[1], id .. '/seen', seen + 1, id .. '/failed', failed + tonumber(fails))
    redis.call('EXPIRE', KEYS[1], ARGV[1])
    return {(i - 2) / 6, seen, tonumber(fails)}
  end
end
return {}
""")


class ValkeyFaultCounts:
    """Counts by team and rule: a hash for each team."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def take(self, team_id: str, candidates: Sequence[ActiveRule]) -> Taken | None:
        """Let the first rule that is not spent decide about one more request; None if all are spent.

        One round trip; two if chance decides, as Python draws it, which takes the number first. It takes more only if
        dozens of other requests come between the two.
        """
        key = key_of("faults", team_id)
        draws: dict[int, tuple[int, str]] = {}
        while True:
            arguments = [
                argument
                for index, active in enumerate(candidates)
                for argument in _candidate(active, *draws.get(index, (0, "")))
            ]
            found = await _TAKE.run(self._engine, key, _FAULTS_SECONDS, *arguments)
            if not found:
                return None
            index, number, *fails = found
            active = candidates[index]
            if fails:
                return Taken(active, number, bool(fails[0]))
            rule, first = active.rule, number // _BLOCK
            both = [_drawn_block(rule.seed, float(rule.probability), block) for block in (first, first + 1)]
            draws[index] = first * _BLOCK, "".join(both)

    async def counts(self, team_id: str) -> Mapping[str, tuple[int, int]]:
        """Return how many requests each rule of a team has decided about, and how many of them failed."""
        key = key_of("faults", team_id)
        found: dict[bytes, bytes] = await self._engine.send("HGETALL", key)
        numbers = {field.decode(): int(value) for field, value in found.items()}
        rules = {field.rpartition("/")[0] for field in numbers}
        return {rule: (numbers[f"{rule}/seen"], numbers[f"{rule}/failed"]) for rule in rules}

    async def forget(self, team_id: str, rule_id: str | None = None) -> None:
        """Forget the counts of a team's rules, or of one of them."""
        key = key_of("faults", team_id)
        if rule_id is None:
            await self._engine.send("UNLINK", key)
        else:
            await self._engine.send("HDEL", key, f"{rule_id}/seen", f"{rule_id}/failed")


def _candidate(active: ActiveRule, first: int, draws: str) -> tuple[str | int, ...]:
    rule = active.rule
    most = -1 if rule.fail_request_count is None else rule.fail_request_count
    return active.id, most, rule.succeed_first, int(rule.probability >= 1), first, draws


@lru_cache(maxsize=1024)
def _drawn_block(seed: int, probability: float, block: int) -> str:
    numbers = range(block * _BLOCK, (block + 1) * _BLOCK)
    return "".join("01"[drawn(seed, probability, number)] for number in numbers)


def key_of(kind: str, name: str) -> str:
    """Return the key in Valkey of a counter, of counts or of a journal."""
    return f"{_PREFIX}:{kind}:{name}"
