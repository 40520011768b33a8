"""Batches of questions to an engine.

While a batch is under way, new questions wait, and the next batch takes all of them. Thus many requests share a round
trip, and a question that is alone does not wait. A batch starts after its questions arrived: an answer is as fresh as
that of a question that is sent alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

Q = TypeVar("Q")
A = TypeVar("A")


class Batches(Generic[Q, A]):
    """Batches of questions, one under way at a time for each event loop."""

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A | Exception]]], size: int) -> None:
        """Start with no question.

        Args:
            ask: asks a batch. It returns, for each question in order, the answer or the exception for its asker. An
                exception that it raises goes to all askers of this batch, and to no other.
            size: most questions of a batch.
        """
        self._ask_all = ask
        self._size = size
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue[Q, A]] = WeakKeyDictionary()

    async def ask(self, question: Q, seconds: float | None) -> A:
        """Ask a question with the next batch, and return its answer.

        A question whose asker was cancelled or timed out is left out of a batch that has not started.

        Args:
            question: one question.
            seconds: time-out, from now; None for none.

        Raises:
            TimeoutError: there was no answer in time.
        """
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _Queue()
        future: asyncio.Future[A] = loop.create_future()
        queue.waiting.append((question, future))
        if queue.under_way is None:
            queue.under_way = loop.create_task(self._ask_waiting(queue))
        if seconds is None:
            return await future
        # asyncio.timeout would do, at four times the cost.
        timer = loop.call_later(seconds, _fail, future, TimeoutError())
        try:
            return await future
        finally:
            timer.cancel()

    async def _ask_waiting(self, queue: "_Queue[Q, A]") -> None:
        try:
            while batch := queue.take(self._size):
                answers: Sequence[A | Exception]
                try:
                    answers = await self._ask_all([question for question, _ in batch])
                except Exception as error:  # noqa: BLE001  (raised for each asker)
                    answers = [error] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if isinstance(answer, Exception):
                        _fail(future, answer)
                    elif not future.done():
                        future.set_result(answer)
        finally:
            queue.under_way = None


class _Queue(Generic[Q, A]):
    """The questions of one event loop."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self.under_way: asyncio.Task[None] | None = None

    def take(self, size: int) -> "list[tuple[Q, asyncio.Future[A]]]":
        """Remove and return the oldest questions whose askers still wait."""
        batch: list[tuple[Q, asyncio.Future[A]]] = []
        while self.waiting and len(batch) < size:
            question, future = self.waiting.popleft()
            if not future.done():
                batch.append((question, future))
        return batch


def _fail(future: "asyncio.Future[A]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # an asker that is cancelled now never looks: asyncio would log that
