"""Data set files: what they may say, what is wrong with them and where, and how they are loaded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from sqlalchemy import event, func, select
from tests.properties.worlds import NOW

from cstar_mock.contract import clock
from cstar_mock.datasets.files import find, read
from cstar_mock.datasets.format import json_schema, parse
from cstar_mock.datasets.generate import generate
from cstar_mock.datasets.problems import DatasetError
from cstar_mock.store import migrations, package_data, rollups
from cstar_mock.store.database import Database
from cstar_mock.store.engine_errors import StoreConflict
from cstar_mock.store.models import CsatResponse, Customer, Member, Scope, Team, Ticket
from cstar_mock.store.rows import insert_rows
from cstar_mock.teams.load import load, load_datasets

SHIPPED = sorted(package_data.folder("seed").glob("*.yaml"))


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    database = Database("sqlite://")
    migrations.prepare(database)
    yield database
    database.close()


def written(folder: Path, text: str) -> str:
    """Write a file whose head is that of a team's live environment, at line 5."""
    path = folder / "mine.yaml"
    path.write_text(f"dataset: mine\nteams:\n  - slug: mine\n    clock: 2025-12-10T14:30:00Z\n    live:\n{text}")
    return str(path)


def count(database: Database, model: Any) -> int:
    """Return how many rows there are."""
    return database.read_now(lambda connection: connection.scalar(select(func.count()).select_from(model))) or 0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_data_sets_keep_their_schema(path: Path) -> None:
    assert read(path).dataset == path.stem
    typed = json.loads(json.dumps(yaml.safe_load(path.read_text()), default=clock_text))
    jsonschema.Draft202012Validator(json_schema()).validate(typed)


def clock_text(value: Any) -> str:
    """Write a date of YAML as the text that it was."""
    return str(value.strftime("%Y-%m-%dT%H:%M:%SZ"))


@pytest.mark.newest("pydantic words the same schema differently from release to release")
def test_the_published_schema_is_the_formats() -> None:
    """`cstar-mock schema --output seed/dataset.schema.json` brings it up to date."""
    published = json.loads((package_data.folder("seed") / "dataset.schema.json").read_text())
    assert published == json_schema()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("      tickets: 3\n", 6, "teams[0].live.tickets: '3' is not allowed: must be a list"),
        ("      tikets: []\n", 6, "teams[0].live.tikets: is no known field"),
        ("      Tickets: []\n", 6, "teams[0].live.Tickets: is no known field"),
        ('      "a\\nb": []\n', 6, "teams[0].live.'a\\nb': is no known field"),
        ("      tickets: [{id: t}]\n", 6, "teams[0].live.tickets[0].customerId: is missing (and 2 more)"),
        (
            "      customers:\n        - {id: c}\n        - {id: d, createdAt: yesterday}\n",
            8,
            "teams[0].live.customers[1].createdAt: 'yesterday' is not an ISO 8601",
        ),
        (
            "      customers: [{id: c}]\n      tickets:\n        - customerId: c\n          createdAt: -1d\n"
            "          status: resolved\n          resolvedAt: -2d\n",
            11,
            "teams[0].live.tickets[0].resolvedAt: a ticket can't be resolved before its creation",
        ),
        (
            "      customers: [{id: c}]\n      tickets:\n        - {customerId: c, createdAt: -1d, status: resolved}\n",
            8,
            "teams[0].live.tickets[0].resolvedAt: a resolved ticket needs",
        ),
        (
            "      customers: [{id: c}]\n      tickets:\n"
            "        - {customerId: c, createdAt: -1d, status: open, resolvedAt: now}\n",
            8,
            "teams[0].live.tickets[0].resolvedAt: a ticket with status open has no resolution",
        ),
        (
            "      customers: [{id: c}]\n      tickets:\n"
            "        - {customerId: c, createdAt: -1d, status: new, firstResponseAt: -2d}\n",
            8,
            "teams[0].live.tickets[0].firstResponseAt: the first response can't be before",
        ),
        (
            "      tickets:\n        - {customerId: c, assigneeId: u, createdAt: -1d, status: new}\n",
            7,
            "teams[0].live.tickets[0].customerId: no customer has the id 'c' (and 1 more)",
        ),
        ("      customers: [{id: c}, {id: c}]\n", 6, "teams[0].live.customers[1].id: the id 'c' is taken already"),
        (
            "      members: [{name: M, createdAt: now, removedAt: -1d}]\n",
            6,
            "teams[0].live.members[0].removedAt: a member can't be removed before joining",
        ),
        (
            "      csatResponses: [{ticketId: t, score: 6, submittedAt: now}]\n",
            6,
            "teams[0].live.csatResponses[0].score: '6' is not allowed",
        ),
        (
            "      csatResponses: [{ticketId: t, score: 5, submittedAt: now}]\n",
            6,
            "teams[0].live.csatResponses[0].ticketId: no ticket has the id 't'",
        ),
        (
            "      customers: [{id: c}]\n      tickets: [{id: t, customerId: c, createdAt: now, status: new}]\n"
            "      csatResponses:\n        - {ticketId: t, score: 5, submittedAt: -1d}\n"
            "        - {ticketId: t, score: 5, submittedAt: now}\n",
            9,
            "csatResponses[0].submittedAt: a response can't be before its ticket's creation (and 1 more)",
        ),
        (
            "      answers: {overview: {customers: {total: 1, active: 2}, tickets: {total: 9}}}\n",
            6,
            "teams[0].live.answers.overview.customers.active: 2 active customers are more than the 1",
        ),
        ("      answers: {}\n      members: []\n", 5, "teams[0].live: answers exclude other rows"),
        ("      recipes: [{tickets: 1, since: now, until: -1d}]\n", 6, "recipes[0].since: must be before 'until'"),
        ("      recipes: [{tickets: 1, scores: [0, 0, 0, 0, 0]}]\n", 6, "recipes[0]: 'scores' can't all be 0"),
        ("      recipes: [{tickets: 1, resolution: {from: 2h, to: 1h}}]\n", 6, "resolution: 'from' must be"),
        ("      members: []\n      members: []\n", 7, "the key 'members' is repeated"),
        ("      members: [\n", 7, ""),
    ],
)
def test_an_error_names_file_line_and_field(
    tmp_path: Path, database: Database, text: str, line: int, message: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DatasetError) as refused:
        load_datasets(database, [path])
    assert str(refused.value).startswith(f"{path}:{line}: ")
    assert message in str(refused.value)
    assert count(database, Team) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a data set is a mapping"),
        ("- 1", "a data set is a mapping"),
        ("dataset: mine", "teams: is missing"),
        ("dataset: mine\nteams: []", "teams: must have at least 1 item"),
        ("dataset: My Data\nteams: [{slug: a}]", "dataset: 'My Data' is not allowed"),
        ("dataset: mine\nteams: [{slug: a}, {slug: a}]", "the slug 'a' is repeated"),
        ("dataset: mine\nteams: [{slug: a, keys: {sk_live: sk_test_12345}}]", "must begin with sk_live_"),
        ("dataset: !!python/object:os.system x", "the tag 'tag:yaml.org,2002:python/object:os.system' is not allowed"),
        ("\x00", "the character U+0000 is not allowed"),
    ],
)
def test_a_file_that_is_no_data_set_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(DatasetError) as refused:
        read(path)
    assert message in str(refused.value)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DatasetError, match="can't be read"):
        read(path)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(DatasetError, match="give busy, documented, edge, empty, or the path of a file"):
        find("nothing")


def test_a_second_load_changes_nothing(database: Database) -> None:
    first = load_datasets(database, ["documented"])
    before = database.read_now(lambda connection: list(connection.connection.iterdump()))
    second = load_datasets(database, ["documented"])
    assert database.read_now(lambda connection: list(connection.connection.iterdump())) == before
    assert [team.created for team in first + second] == [True, True, False, False]
    assert second[0].keys == first[0].keys


def test_other_content_for_a_team_is_refused_unless_it_is_to_replace_it(database: Database, tmp_path: Path) -> None:
    load_datasets(database, [written(tmp_path, "      customers: [{id: c}]\n")])
    changed = written(tmp_path, "      customers: [{id: c}, {id: d}]\n")
    with pytest.raises(DatasetError, match=r"mine.yaml:3: .*--replace"):
        load_datasets(database, [changed])
    assert count(database, Customer) == 1
    load_datasets(database, [changed], replace=True)
    assert count(database, Customer) == 2
    assert count(database, Team) == 1


def test_comments_and_layout_are_no_other_content(database: Database, tmp_path: Path) -> None:
    load_datasets(database, [written(tmp_path, "      customers: [{id: c}]\n")])
    same = written(tmp_path, "      # A comment.\n      customers:\n        - id: c\n")
    assert [team.created for team in load_datasets(database, [same])] == [False]


def test_a_key_that_another_team_has_is_refused(database: Database) -> None:
    load_datasets(database, ["documented"])
    thief = {"dataset": "thief", "teams": [{"slug": "thief", "keys": {"sk_live": "sk_live_your_key"}}]}
    with pytest.raises(DatasetError, match=r"teams\[0\].keys.sk_live: this key is taken already"):
        database.write_now(load, parse(thief))


def test_keys_are_made_at_random_where_none_is_given_and_shown_once(database: Database) -> None:
    content = parse({"dataset": "mine", "teams": [{"slug": "mine", "keys": {"sk_live": "sk_live_mine"}}]})
    first, second = (database.write_now(load, content)[0] for _ in range(2))
    assert first.keys["sk_live"] == second.keys["sk_live"] == "sk_live_mine"
    assert str(first.keys["pk_test"]).startswith("pk_test_")
    assert second.keys["pk_test"] is None


def test_relative_times_follow_the_teams_clock(database: Database, tmp_path: Path) -> None:
    load_datasets(database, [written(tmp_path, "      customers: [{id: c, createdAt: -3d}]\n")])
    created = database.read_now(lambda connection: connection.scalar(select(Customer.created_at)))
    assert created == NOW - 3 * clock.DAY


def test_progress_is_told_by_rows(database: Database) -> None:
    said: list[int] = []
    content = parse({"dataset": "many", "teams": [{"slug": "many", "live": {"recipes": [{"tickets": 25_000}]}}]})
    database.write_now(load, content, progress=said.append)
    assert len(said) >= 4
    assert said == sorted(said)
    assert count(database, Ticket) == 25_000


def test_a_seed_gives_the_same_rows_every_time_and_another_one_others() -> None:
    def rows(**recipe: Any) -> list[Any]:
        content = parse({"dataset": "a", "teams": [{"slug": "a", "live": {"recipes": [{"tickets": 300, **recipe}]}}]})
        return list(generate(content.teams[0].live.recipes[0], NOW))

    assert rows(seed=5) == rows(seed=5)
    assert rows(seed=5) != rows(seed=6)
    assert len(rows(members=["Jane"])[0].members) == 1
    assert {ticket["status"] for ticket in rows(status="pending")[-1].tickets} == {"pending"}
    assert all(ticket["resolved_at"] <= NOW for ticket in rows(status="resolved")[-1].tickets)


@pytest.mark.parametrize("status", [None, "new", "open", "pending", "resolved", "closed"])
@pytest.mark.parametrize(("since", "until"), [("-2d", "+3d"), ("+1d", "+2d"), ("-2d", "now"), ("-9d", "-8d")])
def test_a_recipe_around_now_makes_rows_that_keep_the_rules(
    database: Database, status: str | None, since: str, until: str
) -> None:
    """The schema refuses a ticket that breaks a rule; the rule of responses is not in it."""
    recipe = {"tickets": 50, "since": since, "until": until, "status": status, "scored": 1}
    database.write_now(load, parse({"dataset": "a", "teams": [{"slug": "a", "live": {"recipes": [recipe]}}]}))
    of_a_ticket, early = CsatResponse.ticket_id == Ticket.id, CsatResponse.submitted_at < Ticket.created_at
    assert count(database, Ticket) == 50
    assert not database.read_now(lambda connection: connection.scalar(select(Ticket.id).where(of_a_ticket, early)))


def test_a_recipe_that_begins_too_near_to_year_1_is_refused(database: Database) -> None:
    recipe = {"tickets": 5, "since": "0001-06-01T00:00:00Z", "until": "0002-01-01T00:00:00Z"}
    with pytest.raises(DatasetError, match=r"recipes\[0\].since: members join a year earlier"):
        database.write_now(load, parse({"dataset": "a", "teams": [{"slug": "a", "live": {"recipes": [recipe]}}]}))


@pytest.mark.parametrize("number", range(1, 9))
def test_several_recipes_and_rows_fill_one_environment(database: Database, number: int) -> None:
    live = {
        "members": [{"name": "M"}],
        "customers": [{"id": "mine"}],
        "recipes": [{"tickets": number * 7, "seed": number, "status": status} for status in (None, "closed", "new")],
    }
    database.write_now(load, parse({"dataset": "a", "teams": [{"slug": "a", "live": live}]}))
    assert count(database, Ticket) == number * 21
    assert count(database, Member) == 16


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("tickets", {"status": "solved"}),
        ("tickets", {"resolved_at": 1, "status": "resolved"}),
        ("tickets", {"status": "resolved"}),
        ("tickets", {"resolved_at": NOW, "status": "open"}),
        ("tickets", {"first_response_at": 1}),
        ("tickets", {"customer_id": "cus_nobody"}),
        ("tickets", {"assignee_id": "usr_nobody"}),
        ("csat_responses", {"score": 0}),
        ("csat_responses", {"score": 6}),
        ("csat_responses", {"ticket_id": "tkt_none"}),
        ("members", {"removed_at": 1}),
    ],
)
def test_the_schema_refuses_rows_that_make_no_sense(database: Database, table: str, change: dict[str, Any]) -> None:
    from tests.properties.oracle import World
    from tests.properties.worlds import rows

    world = World(
        members=[{"id": "usr_a", "name": "A", "created_at": NOW, "removed_at": None}],
        customers=[{"id": "cus_a", "name": "A", "created_at": NOW}],
        tickets=[
            {
                "id": "tkt_a",
                "customer_id": "cus_a",
                "assignee_id": None,
                "status": "open",
                "created_at": NOW,
                "first_response_at": None,
                "resolved_at": None,
            }
        ],
        csat_responses=[{"id": "csat_a", "ticket_id": "tkt_a", "score": 3, "submitted_at": NOW}],
    )
    team = load_datasets(database, ["empty"])[0]
    getattr(world, table)[0].update(change)
    with pytest.raises(StoreConflict):
        database.write_now(insert_rows, Scope(team.id, "live"), rows(world))
    with pytest.raises(StoreConflict):
        database.write_now(insert_rows, Scope(team.id, "staging"), rows(World(customers=world.customers)))


def a_recipe_of(tickets: int, slug: str = "large") -> dict[str, Any]:
    return {"dataset": slug, "teams": [{"slug": slug, "live": {"recipes": [{"tickets": tickets}]}}]}


def test_a_large_load_leaves_the_schema_as_it_was_also_if_it_fails(database: Database) -> None:
    def fail(rows: int) -> None:
        if rows > 1000:
            # It is under way, without indexes.
            raise RuntimeError

    with pytest.raises(RuntimeError):
        database.write_now(load, parse(a_recipe_of(1000)), progress=fail)
    assert database.read_now(migrations.differences) == []
    database.write_now(load, parse(a_recipe_of(1000)))
    assert database.read_now(migrations.differences) == []
    assert database.read_now(rollups.differences) == []


@pytest.mark.parametrize(("tickets", "dropped"), [(499, False), (999, False), (1100, True)])
def test_indexes_are_made_anew_only_if_more_tickets_come_than_there_are(
    database: Database, tickets: int, dropped: bool
) -> None:
    database.write_now(load, parse(a_recipe_of(1000)))
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *sent: statements.append(sent[2]))
    database.write_now(load, parse(a_recipe_of(tickets, "second")))
    assert any(statement.startswith("\nDROP INDEX") for statement in statements) is dropped
