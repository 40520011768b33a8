"""Teams: look-up, lock, clock, limits and fault rules.

Every change lets the team's revision grow, in the same transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select, update

from cstar_mock.contract import clock
from cstar_mock.contract.clock import Duration, Instant, TeamClock
from cstar_mock.contract.errors import UnknownName
from cstar_mock.store.models import ApiKey, Team
from cstar_mock.traffic.fault_rules import ActiveRule, FaultRule, activated, check_bounds, from_store, stored


@dataclass(frozen=True, slots=True)
class TeamState:
    """A team as it is now."""

    id: str
    slug: str
    name: str
    dataset: str | None
    revision: int
    clock: TeamClock
    rate_limits: dict[str, Any] | None
    faults: tuple[ActiveRule, ...]


def get(connection: Connection, team: str) -> TeamState:
    """Return a team by its id or slug.

    Raises:
        UnknownName: there is no such team.
    """
    row = connection.execute(_TEAMS.where((Team.id == team) | (Team.slug == team))).first()
    if row is None:
        raise UnknownName(f"there is no team {team!r}")
    return _state(row)


def lock(connection: Connection, team: str) -> TeamState:
    """Lock a team by its id or slug, increment its revision, and return it. Every write to a team begins with this.

    On PostgreSQL all other writers of the team wait from here on, so none of them sees half of the change, or holds
    what this one waits for. The new revision invalidates everything cached from the team's rows.

    Raises:
        UnknownName: there is no such team, or it was deleted while this writer waited.
    """
    statement = update(Team).where((Team.id == team) | (Team.slug == team)).values(revision=Team.revision + 1)
    while not connection.execute(statement).rowcount:
        # PostgreSQL: a team that was replaced while this writer waited has another row, which is not locked yet.
        get(connection, team)
    return get(connection, team)


def exists(connection: Connection, team: str) -> bool:
    """Whether there is a team of this id or slug."""
    return connection.scalar(select(Team.id).where((Team.id == team) | (Team.slug == team))) is not None


def list_(connection: Connection) -> list[TeamState]:
    """Return all teams, by slug."""
    return [_state(row) for row in connection.execute(_TEAMS.order_by(Team.slug))]


def key_ids(connection: Connection, team_id: str) -> list[str]:
    """Return the ids of a team's keys."""
    return list(connection.scalars(select(ApiKey.id).where(ApiKey.team_id == team_id)))


def freeze(connection: Connection, team: str, instant: Instant | None) -> TeamClock:
    """Stop the team's clock at an instant, by default at its present one.

    Raises:
        UnknownName: there is no such team.
    """
    state = lock(connection, team)
    return _set_clock(connection, state, frozen_at=state.clock.now() if instant is None else instant)


def advance(connection: Connection, team: str, by: Duration) -> TeamClock:
    """Move the team's clock ahead, frozen or running; rate-limit windows and healing rules move along.

    Raises:
        UnknownName: there is no such team.
        ValueError: the clock, or real time plus its advances, would leave the years that a clock can show.
    """
    state = lock(connection, team)
    # Real time plus all advances counts too: a clock that is frozen in the past can be advanced again and again.
    for instant in (state.clock.now(), clock.real_now() + state.clock.advanced):
        clock.checked_now(instant + by)
    now = state.clock
    return _set_clock(
        connection,
        state,
        frozen_at=None if now.frozen_at is None else now.frozen_at + by,
        offset=now.offset if now.frozen_at is not None else now.offset + by,
        advanced=now.advanced + by,
    )


def run_in_real_time(connection: Connection, team: str) -> TeamClock:
    """Return the team's clock to real time; its advances still count for rate-limit windows.

    Raises:
        UnknownName: there is no such team.
    """
    state = lock(connection, team)
    return _set_clock(connection, state, frozen_at=None, offset=0)


def set_rate_limits(connection: Connection, team: str, limits: dict[str, Any] | None) -> None:
    """Set the team's own limits; None is the server's.

    Raises:
        UnknownName: there is no such team.
    """
    state = lock(connection, team)
    connection.execute(update(Team).where(Team.id == state.id).values(rate_limits=limits))


def set_faults(
    connection: Connection, team: str, rules: Sequence[FaultRule], *, keep: bool = False
) -> tuple[TeamState, tuple[ActiveRule, ...]]:
    """Set the team's fault rules, or add rules; return the team as it was, and its rules now.

    Raises:
        UnknownName: there is no such team.
        ValueError: two rules have the same id, or they are too many or too large together.
    """
    state = lock(connection, team)
    now = clock.real_now() + state.clock.advanced
    active = (*(state.faults if keep else ()), *activated(rules, now))
    ids = [rule.id for rule in active]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise ValueError(f"two rules have the id {id_!r}")
    check_bounds(active)
    _store_faults(connection, state, active)
    return state, active


def remove_fault(connection: Connection, team: str, rule_id: str) -> TeamState:
    """Remove one fault rule, and return the team as it was.

    The rules that are left may exceed the bounds: an earlier version may have stored them.

    Raises:
        UnknownName: there is no such team or rule.
    """
    state = lock(connection, team)
    left = tuple(rule for rule in state.faults if rule.id != rule_id)
    if len(left) == len(state.faults):
        raise UnknownName(f"there is no fault rule {rule_id!r}")
    _store_faults(connection, state, left)
    return state


def _store_faults(connection: Connection, state: TeamState, rules: Sequence[ActiveRule]) -> None:
    connection.execute(update(Team).where(Team.id == state.id).values(faults=stored(rules)))


def _set_clock(connection: Connection, state: TeamState, **columns: Any) -> TeamClock:
    values = {f"clock_{name}": value for name, value in columns.items()}
    connection.execute(update(Team).where(Team.id == state.id).values(values))
    return get(connection, state.id).clock


_TEAMS = select(
    Team.id,
    Team.slug,
    Team.name,
    Team.dataset,
    Team.revision,
    Team.clock_frozen_at,
    Team.clock_offset,
    Team.clock_advanced,
    Team.rate_limits,
    Team.faults,
)


def _state(row: Any) -> TeamState:
    return TeamState(
        id=row.id,
        slug=row.slug,
        name=row.name,
        dataset=row.dataset,
        revision=row.revision,
        clock=TeamClock(row.clock_frozen_at, row.clock_offset, row.clock_advanced),
        rate_limits=row.rate_limits,
        faults=from_store(row.faults),
    )
