"""The roll-ups are what the rows add up to, whichever way these came in; and a difference is found and mended."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, update
from tests.examples import examples
from tests.properties.oracle import World
from tests.properties.worlds import rows as rows_of
from tests.properties.worlds import worlds

from cstar_mock.contract import clock
from cstar_mock.datasets.format import Recipe
from cstar_mock.datasets.generate import generate
from cstar_mock.store import migrations, rollups, rows
from cstar_mock.store.database import Database
from cstar_mock.store.models import CsatResponse, Customer, Member, NewestTicket, Rollup, Scope, Team, Ticket
from cstar_mock.store.rollup_queries import MEMBERS

LIVE = Scope("rolled-up", "live")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of each kind with one team."""
    if request.param == "sqlite":
        database = Database("sqlite://")
        migrations.prepare(database)
    else:
        database = Database(request.getfixturevalue("postgresql"))
        migrations.upgrade(database)
    database.write_now(
        lambda connection: connection.execute(
            insert(Team), [{"id": "rolled-up", "slug": "rolled-up", "name": "T", "origin": {}, "created_at": 0}]
        )
    )
    yield database
    database.write_now(lambda connection: connection.execute(delete(Team).where(Team.id == "rolled-up")))
    database.close()


class _RolledBack(Exception):
    pass


def _change_at_random(connection: Connection, world: World, data: st.DataObject) -> None:
    """Insert rows of every kind, change some, delete some, and compare after each."""
    rows.insert_rows(connection, LIVE, rows_of(world))
    assert rollups.differences(connection) == []
    for ticket in world.tickets:
        other = data.draw(st.sampled_from(world.tickets))
        columns = {name: other[name] for name in ("customer_id", "assignee_id", "status", "resolved_at")}
        try:
            rows.change(connection, LIVE, Ticket, ticket["id"], columns)
        except rows.RowsRefused:
            continue
    assert rollups.differences(connection) == []
    for customer in world.customers:
        created = data.draw(st.integers(-(10**15), 10**15))
        rows.change(connection, LIVE, Customer, customer["id"], {"created_at": created})
    for response in world.csat_responses:
        rows.change(connection, LIVE, CsatResponse, response["id"], {"score": data.draw(st.integers(1, 5))})
    for ticket in world.tickets:
        if data.draw(st.booleans()):
            rows.remove(connection, LIVE, Ticket, ticket["id"])
    assert rollups.differences(connection) == []
    rollups.rebuild(connection, LIVE)
    assert rollups.differences(connection) == []
    rows.delete_all(connection, LIVE.team_id)
    for table in (Rollup, NewestTicket):
        assert connection.execute(table.__table__.select()).first() is None
    raise _RolledBack


@settings(
    max_examples=examples(20),
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(world=worlds(), data=st.data())
def test_roll_ups_follow_every_change_of_rows(database: Database, world: World, data: st.DataObject) -> None:
    with pytest.raises(_RolledBack):
        database.write_now(_change_at_random, world, data)


def test_they_follow_a_large_load_into_an_environment_that_has_rows(database: Database) -> None:
    customer = {"id": "cus_before", "name": "C", "created_at": 0}
    now = clock.parse_instant("2025-12-10T14:30:00Z")
    before, after = (rows.ticket(f"tkt_{name}", "cus_before", now - age) for name, age in (("a", 10**12), ("b", 10**9)))

    def write(connection: Connection) -> None:
        rows.insert_rows(connection, LIVE, rows.Rows([], [customer], [before]))
        with rows.large_load(connection, LIVE, 700) as insert_some:
            for some in generate(Recipe(tickets=700), now):
                insert_some(some)
            insert_some(rows.Rows(tickets=[after]))
        assert rollups.differences(connection) == []
        newest = connection.execute(NewestTicket.__table__.select().where(NewestTicket.customer_id == "cus_before"))
        assert newest.one().created_at == after["created_at"]
        raise _RolledBack

    with pytest.raises(_RolledBack):
        database.write_now(write)


def test_what_was_written_behind_their_back_is_found_and_mended(database: Database) -> None:
    customer = {"id": "cus_1", "name": "C", "created_at": 0}
    member = {"id": "usr_1", "name": "M", "created_at": 0, "removed_at": None}
    ticket = rows.ticket("tkt_1", "cus_1", 5, assignee_id="usr_1")

    def write(connection: Connection) -> None:
        rows.insert_rows(connection, LIVE, rows.Rows([member], [customer], [ticket]))
        assert rollups.differences(connection) == []
        connection.execute(
            update(Ticket).where(Ticket.team_id == "rolled-up").values(created_at=2**40, first_response_at=2**41)
        )
        assert rollups.differences(connection) == [
            "newest_tickets: 2 differ from the rows of team rolled-up (live)",
            "member_totals: 1 differ from the rows of team rolled-up (live)",
            "rollups: 3 differ from the rows of team rolled-up (live)",
        ]
        rollups.rebuild(connection, LIVE)
        assert rollups.differences(connection) == []
        kept = connection.execute(MEMBERS.select()).one()
        assert (kept.member_id, kept.answered, kept.waited_seconds) == ("usr_1", 1, 2**40 // 10**6)
        raise _RolledBack

    with pytest.raises(_RolledBack):
        database.write_now(write)


def test_only_the_modules_of_rows_write_to_what_is_rolled_up() -> None:
    """A statement elsewhere would let the figures differ from the rows."""
    import ast

    from tests.conftest import ROOT

    allowed = {"rows.py", "rollups.py"}
    names = {model.__name__ for model in (Member, Customer, Ticket, CsatResponse)}
    for path in (ROOT / "app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in {"insert", "update", "delete"} and path.name not in allowed:
                assert not any(isinstance(one, ast.Name) and one.id in names for one in node.args), path
