"""The recording of a request: pending while it waits, then answered or left by its client."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.types import Receive

from cstar_mock.contract import clock
from cstar_mock.contract.errors import StateUnavailable
from cstar_mock.traffic.journal import UNMATCHED, Entry, Journal, RequestState

if TYPE_CHECKING:
    from cstar_mock.http.context import RequestContext
    from cstar_mock.http.facts import RequestFacts

# Looking up a member of an enumeration costs as much as a tenth of recording a request.
PENDING, ANSWERED = RequestState.PENDING, RequestState.ANSWERED

SLOW_SECONDS = 0.02
"""Seconds after which a request without an answer is recorded as pending, so that it can be seen while it waits
for the database. Those that a fault rule delays are recorded at once."""


class ClientGone(Exception):
    """The client disconnected before the answer was due."""


class Recording:
    """The journal entry of one request.

    A fast request is written once, with its answer. It is written as pending first only where it waits.
    """

    def __init__(self, journal: Journal | None, context: "RequestContext", facts: "RequestFacts") -> None:
        """Begin with nothing recorded.

        Args:
            journal: where to record the request; None to record nothing.
            context: what is known of the request.
            facts: what it says.
        """
        self._journal = journal
        self._context = context
        self._facts = facts
        self._first: Entry | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._slow: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Record the request as pending if it is slow."""
        if self._journal is not None:
            self._timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._is_slow)

    def close(self) -> None:
        """Stop the timer that records the request as pending."""
        if self._timer is not None:
            self._timer.cancel()

    async def wait(self, seconds: float, receive: Receive) -> None:
        """Wait with the request recorded as pending, for as long as the client does.

        Raises:
            ClientGone: the client has disconnected.
            StateUnavailable: the journal is shared and can't be reached.
        """
        await self._record(PENDING)
        if await _disconnects_within(seconds, receive):
            raise ClientGone

    async def end(self, state: RequestState, receive: Receive) -> None:
        """Record the end of the request.

        Raises:
            StateUnavailable: the journal is shared and can't be reached.
        """
        self.close()
        if self._first is not None and await _disconnects_within(0, receive):
            state = RequestState.CLIENT_GONE
        await self._record(state)

    def _is_slow(self) -> None:
        if self._context.caller is None:
            self.watch()  # the team is not known yet
        elif self._first is None:
            self._slow = asyncio.create_task(self._record_slow())

    async def _record_slow(self) -> None:
        with suppress(StateUnavailable):  # the end of the request is recorded, or answered with a 503
            await self._write(PENDING)

    async def _record(self, state: RequestState) -> None:
        if self._slow is not None:
            await asyncio.wait([self._slow])
        await self._write(state)

    async def _write(self, state: RequestState) -> None:
        """Add the entry to the journal, or replace it once it has been added."""
        if self._journal is None:
            return
        team_id, entry = team_of(self._context), entry_of(self._context, self._facts, state)
        first = self._first
        if first is not None:
            await self._journal.update(
                team_id, entry._replace(received_at=first.received_at, team_time=first.team_time)
            )
            return
        self._first = entry
        try:
            await self._journal.record(team_id, entry)
        except StateUnavailable:
            self._first = None
            raise


async def _disconnects_within(seconds: float, receive: Receive) -> bool:
    """Whether the client disconnects within some seconds, which pass if it does not."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass  # a body, which no route of the API reads
    except TimeoutError:
        return False
    return True


def team_of(context: "RequestContext") -> str:
    """Return the team whose journal a request belongs to."""
    return context.caller.team_id if context.caller else UNMATCHED


def entry_of(context: "RequestContext", facts: "RequestFacts", state: RequestState) -> Entry:
    """Return the journal entry of a request in this state."""
    caller = context.caller
    is_pending, is_answered = state is PENDING, state is ANSWERED
    milliseconds = context.seconds() * 1000 if is_pending else context.milliseconds()
    return Entry(
        context.request_id,
        clock.real_now() - int(milliseconds * 1000),
        context.now(),
        facts.method,
        facts.shown_path,
        facts.shown_query,
        facts.endpoint,
        facts.headers,
        None if caller is None else caller.shown,
        state,
        context.status if is_answered else None,
        context.code if is_answered else None,
        None if is_pending else milliseconds,
        context.fault,
        context.hint,
        context.started,
        facts.size,
    )
