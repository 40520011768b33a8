"""Each bound of a value holds to the unit; SECURITY.md lists all bounds (tests/packaging/test_security_md.py)."""

import asyncio
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cstar_mock import bounds
from cstar_mock.api.remembered import Remembered
from cstar_mock.datasets.format import Count, Figure, Fixed, MagicKey, Minutes, Recipe, TeamRateLimits
from cstar_mock.datasets.generate import generate
from cstar_mock.datasets.problems import DatasetError
from cstar_mock.faults import FaultRule
from cstar_mock.security import KeyRing

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


def test_cached_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_CACHED_ANSWERS", 3)
    remembered, answer = Remembered(), object()
    for number in range(10):
        remembered.put({"path": "/", "query_string": b"%d" % number}, b"", answer)  # type: ignore[arg-type]
        assert len(remembered._answers) <= 3  # noqa: SLF001


def test_cached_callers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def version(self) -> int:
            return 1

        async def read(self, *_: object) -> Any:
            return type("Caller", (), {"expired": lambda _: False})()

    async def ask() -> None:
        for number in range(10):
            await ring.find(b"%d" % number)
            assert len(ring._callers) <= 3  # noqa: SLF001

    monkeypatch.setattr(bounds, "MOST_CACHED_CALLERS", 3)
    ring = KeyRing(Store())  # type: ignore[arg-type]
    asyncio.run(ask())
