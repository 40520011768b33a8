"""Every figure equals the oracle's, for random rows in two teams and both environments."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert
from tests.examples import examples
from tests.properties import oracle
from tests.properties.oracle import World
from tests.properties.worlds import NOW, rows, worlds

from cstar_mock.analytics import service
from cstar_mock.contract.periods import Period
from cstar_mock.store import migrations
from cstar_mock.store.database import Database
from cstar_mock.store.models import Scope, Team
from cstar_mock.store.rows import insert_rows

SCOPES = [Scope(team, environment) for team in ("team-1", "team-2") for environment in ("live", "test")]

four_worlds = st.tuples(worlds(), worlds(), worlds(), worlds())
periods = st.sampled_from(list(Period))
clocks = st.sampled_from([NOW, NOW, NOW - 1, NOW + 1, NOW - oracle.DAY, NOW + 7 * oracle.DAY])


@pytest.fixture(scope="module", name="sqlite")
def _sqlite() -> Iterator[Database]:
    database = Database("sqlite://")
    migrations.prepare(database)
    database.write_now(_add_teams)
    yield database
    database.close()


@pytest.fixture(scope="module", name="server")
def _postgresql(postgresql: str) -> Iterator[Database]:
    from cstar_mock.store import migrations

    database = Database(postgresql)
    migrations.upgrade(database)
    database.write_now(_add_teams)
    yield database
    database.close()


def _add_teams(connection: Connection) -> None:
    connection.execute(
        insert(Team),
        [{"id": team, "slug": team, "name": team, "origin": {}, "created_at": 0} for team in ("team-1", "team-2")],
    )


class _RolledBack(Exception):
    pass


def _compare(connection: Connection, drawn: tuple[World, ...], period: Period, now: int) -> None:
    for scope, world in zip(SCOPES, drawn, strict=True):
        insert_rows(connection, scope, rows(world))
    for scope, world in zip(SCOPES, drawn, strict=True):
        overview = service.overview(connection, scope, period, now)
        assert overview.model_dump(mode="json") == oracle.overview(world, period.value, now)
        stats = service.agents(connection, scope, now)
        assert [agent.model_dump(mode="json") for agent in stats] == oracle.agents(world, now)
    raise _RolledBack


@pytest.mark.states(
    "figures.*",
    "period.lengths",
    "period.rolling",
    "figure.reopened",
    "figure.future",
    "mean.rounding",
    "agents.responses",
    "agents.response-time.unit",
    "agents.all-members",
)
@settings(max_examples=examples(1000), deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(drawn=four_worlds, period=periods, now=clocks)
def test_figures_equal_the_oracle_on_sqlite(
    sqlite: Database, drawn: tuple[World, ...], period: Period, now: int
) -> None:
    with pytest.raises(_RolledBack):
        sqlite.write_now(_compare, drawn, period, now)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(drawn=four_worlds, period=periods, now=clocks)
def test_figures_equal_the_oracle_on_postgresql(
    server: Database, drawn: tuple[World, ...], period: Period, now: int
) -> None:
    with pytest.raises(_RolledBack):
        server.write_now(_compare, drawn, period, now)
