"""The state of requests besides the rows: counters, counts of fault rules, the journal.

It is kept in this process, or in a Valkey that several workers and hosts share. The protocols belong to those who use
them: `rate_limit.Windows`, `faults.FaultCounts`, `journal.Journal`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cstar_mock.settings import Settings
from cstar_mock.state.memory import MemoryFaultCounts, MemoryJournal, MemoryWindows
from cstar_mock.traffic.faults import FaultCounts
from cstar_mock.traffic.journal import Journal
from cstar_mock.traffic.rate_limit import Windows

if TYPE_CHECKING:
    from cstar_mock.state.valkey import Engine


@dataclass(frozen=True, slots=True)
class State:
    """The state of one application.

    Attributes:
        engine: the connections to the Valkey that keeps it; None if it is in this process.
    """

    windows: Windows
    fault_counts: FaultCounts
    journal: Journal
    engine: "Engine | None" = None

    async def open(self) -> None:
        """Keep connections from now on, for the running event loop; without it, each command opens one."""
        if self.engine is not None:
            await self.engine.open()

    async def check(self) -> None:
        """Check that Valkey answers.

        Raises:
            StateUnavailable: no answer came.
        """
        if self.engine is not None:
            await self.engine.check()

    async def close(self) -> None:
        """Close all connections."""
        if self.engine is not None:
            await self.engine.close()


def create_state(settings: Settings) -> State:
    """Return the state that the settings ask for; nothing is connected yet.

    Raises:
        ModuleNotFoundError: it is in Valkey, and the extra `valkey` is not installed.
        ValueError: the URL has an option that no connection has.
    """
    if settings.state is None:
        return State(MemoryWindows(), MemoryFaultCounts(), MemoryJournal(settings.journal_size))
    from cstar_mock.state.valkey import Engine, ValkeyFaultCounts, ValkeyWindows  # noqa: PLC0415
    from cstar_mock.state.valkey_journal import ValkeyJournal  # noqa: PLC0415

    engine = Engine(settings.state.get_secret_value(), settings.state_timeout)
    return State(ValkeyWindows(engine), ValkeyFaultCounts(engine), ValkeyJournal(engine, settings.journal_size), engine)
