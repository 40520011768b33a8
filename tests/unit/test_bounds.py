"""Each bound of a value holds to the unit; SECURITY.md lists all bounds (tests/packaging/test_security_md.py)."""

import asyncio
import json
import tracemalloc
from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

import pytest
from pydantic import TypeAdapter, ValidationError

from cstar_mock import bounds
from cstar_mock.datasets.format import Answers, Count, Figure, Fixed, MagicKey, Minutes, Recipe, TeamRateLimits
from cstar_mock.datasets.generate import generate
from cstar_mock.datasets.problems import DatasetError
from cstar_mock.state.memory import MemoryFaultCounts, MemoryWindows
from cstar_mock.store.database import Limits
from cstar_mock.traffic.answer_cache import AnswerCache, Asked, CachedAnswer
from cstar_mock.traffic.authentication import Caller, KeyRing
from cstar_mock.traffic.fault_rules import ActiveRule, FaultRule, from_store

NOW = 1_765_377_000_000_000


def accepts(model: Any, value: Any) -> bool:
    """Return whether a model accepts a value."""
    try:
        TypeAdapter(model).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("model", "value", "bound"),
    [
        (Count, lambda n: n, bounds.MOST_RECIPE_ROWS),
        (Figure, lambda n: n, bounds.MOST_FIGURE),
        (Minutes, lambda n: n, bounds.LONGEST_RESPONSE_MINUTES),
        (Recipe, lambda n: {"tickets": 1, "since": "-1d", "seed": n}, bounds.LARGEST_SEED),
        (TeamRateLimits, lambda n: {"secret": n}, bounds.LARGEST_RATE_LIMIT),
        (MagicKey, lambda n: {"key": "sk_live_bounded", "rateLimit": n}, bounds.LARGEST_RATE_LIMIT),
        (FaultRule, lambda n: {"status": 429, "succeedFirst": n}, bounds.LARGEST_INTEGER),
        (Fixed, lambda n: "2025-12-10T14:30:00." + "0" * (n - 21) + "Z", bounds.LONGEST_TIME),
        (FaultRule, lambda n: {"delay": {"type": "fixed", "milliseconds": n}}, bounds.LONGEST_DELAY_MS),
    ],
)
def test_a_value_may_be_as_large_as_its_bound_and_no_larger(model: Any, value: Any, bound: int) -> None:
    assert accepts(model, value(bound))
    assert not accepts(model, value(bound + 1))


def test_a_recipe_covers_ten_years_at_most() -> None:
    def recipe(days: int) -> Recipe:
        return Recipe.model_validate({"tickets": 1, "since": f"-{days}d", "until": "-0d"})

    assert list(generate(recipe(bounds.LONGEST_RECIPE_DAYS), NOW))
    with pytest.raises(DatasetError, match="ten years"):
        list(generate(recipe(bounds.LONGEST_RECIPE_DAYS + 1), NOW))


def test_an_answer_has_a_bounded_number_of_agents() -> None:
    assert accepts(Answers, {"agents": [{"name": "A"}] * bounds.MOST_AGENTS})
    assert not accepts(Answers, {"agents": [{"name": "A"}] * (bounds.MOST_AGENTS + 1)})


def _caller(team_id: str) -> Caller:
    caller = Mock(spec=Caller)
    caller.team_id, caller.environment = team_id, "live"
    return caller


def test_cached_answers_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CACHED_ANSWER_BYTES", 1_000_000)
    answers = AnswerCache()
    for number in range(30):
        answers.put(_caller(str(number)), Asked("agents"), CachedAnswer(b" " * 100_000, 1, 0, None))
    kept = [number for number in range(30) if answers.get(_caller(str(number)), Asked("agents")) is not None]
    assert kept == list(range(21, 30))


def test_an_answer_that_never_fits_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CACHED_ANSWER_BYTES", 1_000_000)
    answers = AnswerCache()
    answers.put(_caller("t"), Asked("agents"), CachedAnswer(b"old", 1, 0, None))
    answers.put(_caller("t"), Asked("agents"), CachedAnswer(b" " * 1_000_000, 2, 0, None))
    assert answers.get(_caller("t"), Asked("agents")) is None


class _Store:
    """A store with a key for every digest, and fault rules of a size."""

    embedded = True
    limits = Limits()

    def __init__(self, rules: str) -> None:
        self.rules = rules
        self.asked = 0

    def version(self) -> int:
        return 1

    async def read(self, _work: object, parameters: Mapping[str, bytes]) -> list[tuple[object, ...]]:
        self.asked += 1
        team = parameters["digest"].decode()
        rules = self.rules.replace("TEAM", team)
        key = ("key_1", "secret", "live", "1234", None, None, None)
        return [(parameters["digest"], *key, team, team, team, 1, None, rules, None, 0, 0)]


def _asked_again(store: _Store, callers: int) -> int:
    """Return how many callers of so many a key ring has to look up a second time."""
    ring = KeyRing(store)  # type: ignore[arg-type]

    async def ask() -> int:
        digests = [b"%05d" % number for number in range(callers)]
        for digest in digests:
            await ring.find(digest)
        before = store.asked
        for digest in reversed(digests):
            await ring.find(digest)
        return store.asked - before

    return asyncio.run(ask())


def test_cached_callers_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "CACHED_CALLER_BYTES", 34_000)
    assert _asked_again(_Store("[]"), 30) == 20


def test_fault_rules_count_with_their_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = '[{"id": "TEAM", "endsAt": null, "rule": {"status": 500, "body": "%s"}}]' % ("x" * 10_000)
    monkeypatch.setattr(bounds, "CACHED_CALLER_BYTES", 5_000_000)
    assert _asked_again(_Store(rules), 30) == 30 - 5_000_000 // (40 * 10_080)


def test_parsed_fault_rules_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = Mock(side_effect=from_store)
    monkeypatch.setattr("cstar_mock.traffic.authentication.from_store", parsed)
    monkeypatch.setattr(bounds, "CACHED_CALLER_BYTES", 0)
    rules = '[{"id": "TEAM", "endsAt": null, "rule": {"status": 500, "body": "%s"}}]' % ("x" * 10_000)
    _asked_again(_Store(rules), 30)
    assert parsed.call_count == 30
    monkeypatch.setattr(bounds, "CACHED_RULE_BYTES", 5_000_000)
    _asked_again(_Store(rules), 30)
    assert parsed.call_count == 30 + 60 - 5_000_000 // (40 * 10_080)


@pytest.mark.parametrize("body", ["[]", "{}", '""', '{"a":0}', "1.5", "[[]]"])
def test_parsed_fault_rules_take_no_more_memory_than_is_counted(body: str) -> None:
    bodies = ",".join([body] * 2_000)
    text = f'[{{"id":"r","endsAt":null,"rule":{{"status":500,"body":[{bodies}]}}}}]'
    tracemalloc.start()
    rules = from_store(json.loads(text))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert rules
    assert taken < 40 * len(text)


def test_the_largest_rule_set_fits_the_caches() -> None:
    assert min(bounds.CACHED_RULE_BYTES, bounds.CACHED_CALLER_BYTES) > 40 * bounds.FAULT_RULES_BYTES


def test_rate_limit_windows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of guessing addresses last a minute, and go before those of keys."""
    monkeypatch.setattr(bounds, "MOST_WINDOWS", 100)
    windows = MemoryWindows()
    storage: Any = windows._strategy.storage  # noqa: SLF001

    async def hit() -> None:
        for number in range(50):
            await windows.hit(f"key_{number}", 10, 3600)
        for number in range(1_000):
            assert (await windows.hit(f"address {number}", 10, 60)).remaining == 9
            assert len(storage._windows) <= 100  # noqa: SLF001
        for number in range(50):
            assert (await windows.hit(f"key_{number}", 10, 3600)).remaining == 8

    asyncio.run(hit())


def test_counts_of_fault_rules_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where rules and teams are gone: another process may have removed them."""
    monkeypatch.setattr(bounds, "MOST_FAULT_COUNTS", 100)
    counts = MemoryFaultCounts()
    rule = FaultRule(status=500)

    async def take() -> None:
        for team in range(50):
            for number in range(10):
                assert await counts.take(f"team_{team}", [ActiveRule(f"rule_{number}", rule)])
            assert await counts.take("busy", [ActiveRule("rule", rule)])
        assert (await counts.counts("busy"))["rule"] == (50, 50)
        assert [len(await counts.counts(f"team_{team}")) for team in (39, 40, 41, 42, 49)] == [0, 0, 10, 10, 10]
        await counts.forget("team_49", "rule_0")
        await counts.forget("team_49", "rule_0")
        await counts.forget("team_49")
        await counts.forget("team_49")
        for number in range(1_000):
            assert await counts.take("changing", [ActiveRule(f"rule_{number}", rule)])
        assert sum(map(len, counts._counts.values())) == counts._total <= 100  # noqa: SLF001

    asyncio.run(take())
