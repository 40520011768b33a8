"""Questions that are asked together: when, in which order, and who gets what."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from cstar_mock.traffic.batches import Batches


class Engine:
    """Doubles numbers; answers a batch when the gate lets it through."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.gate = asyncio.Semaphore(0)
        self.failure: Exception | None = None

    def let_through(self, batches: int = 10) -> None:
        for _ in range(batches):
            self.gate.release()

    async def ask(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.asked.append(list(numbers))
        await self.gate.acquire()
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return [ValueError(f"{number} is odd") if number % 2 else 2 * number for number in numbers]


def run(test: Callable[[Engine, Any], Awaitable[None]], size: int = 10) -> None:
    """Run a test with an engine and its batches."""

    async def body() -> None:
        engine = Engine()
        await test(engine, Batches(engine.ask, size))

    asyncio.run(body())


def begin(batches: Any, *numbers: int) -> list[asyncio.Task[int]]:
    """Let a task for each number ask for its double."""
    return [asyncio.create_task(batches.ask(number, None)) for number in numbers]


async def settle() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_question_is_asked_at_once_and_those_that_come_meanwhile_together() -> None:
    async def test(engine: Engine, batches: Any) -> None:
        tasks = begin(batches, 2)
        await settle()
        tasks += begin(batches, 4, 6, 8)
        await settle()
        assert engine.asked == [[2]]
        engine.let_through()
        assert await asyncio.gather(*tasks) == [4, 8, 12, 16]
        assert engine.asked == [[2], [4, 6, 8]]

    run(test)


def test_a_batch_has_a_size_and_the_oldest_go_first() -> None:
    async def test(engine: Engine, batches: Any) -> None:
        tasks = begin(batches, 2)
        await settle()
        tasks += begin(batches, 4, 6, 8)
        await settle()
        assert engine.asked == [[2]]
        engine.let_through()
        assert await asyncio.gather(*tasks) == [4, 8, 12, 16]
        assert engine.asked == [[2], [4, 6], [8]]

    run(test, size=2)


def test_an_error_is_that_of_its_question_or_of_its_batch_and_of_no_other() -> None:
    async def test(engine: Engine, batches: Any) -> None:
        tasks = begin(batches, 2)
        await settle()
        tasks += begin(batches, 4, 5)
        await settle()
        engine.failure = OSError("the engine is gone")
        engine.let_through()
        first, second, third = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(first), second, str(third)] == ["the engine is gone", 8, "5 is odd"]

    run(test)


def test_a_question_whose_asker_is_gone_is_not_asked() -> None:
    async def test(engine: Engine, batches: Any) -> None:
        (under_way,) = begin(batches, 2)
        await settle()
        waiting, other = begin(batches, 4, 6)
        await settle()
        under_way.cancel()
        waiting.cancel()
        engine.let_through()
        assert await other == 12
        assert engine.asked == [[2], [6]]
        for task in (under_way, waiting):
            with pytest.raises(asyncio.CancelledError):
                await task

    run(test)


def test_a_question_waits_no_longer_than_its_time_out_and_is_not_asked_afterwards() -> None:
    async def test(engine: Engine, batches: Any) -> None:
        (under_way,) = begin(batches, 2)
        await settle()
        with pytest.raises(TimeoutError):
            await batches.ask(4, 0.01)
        (patient,) = begin(batches, 6)
        engine.let_through()
        assert [await under_way, await patient] == [4, 12]
        assert engine.asked == [[2], [6]]

    run(test)


def test_a_time_out_of_a_question_under_way_is_its_own() -> None:
    async def test(engine: Engine, batches: Any) -> None:
        (first,) = begin(batches, 2)
        await settle()
        (patient,) = begin(batches, 4)
        hurried = asyncio.create_task(batches.ask(6, 0.02))
        await settle()
        engine.let_through(1)
        await first
        await settle()
        assert engine.asked == [[2], [4, 6]]
        with pytest.raises(TimeoutError):
            await hurried
        assert not patient.done()
        engine.let_through()
        assert await patient == 8

    run(test)


def test_event_loops_do_not_wait_for_each_other() -> None:
    async def answer(numbers: Sequence[int]) -> list[int | Exception]:
        if numbers == [0]:
            await asyncio.Event().wait()  # for ever
        return list(numbers)

    batches = Batches(answer, 10)

    async def ask(number: int) -> int:
        async with asyncio.timeout(0.05 if number == 0 else 10):
            return await batches.ask(number, None)

    with pytest.raises(TimeoutError):
        asyncio.run(ask(0))
    assert asyncio.run(ask(1)) == 1
