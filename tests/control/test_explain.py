"""Explanations: the ids are as many as the figure says, or their values have it as their mean."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from tests.conftest import Api, MakeApi
from tests.control.conftest import Control, Team

from cstar_mock import bounds

DATASETS = ("documented", "busy", "edge", "empty")
PERIODS = ("day", "week", "month", "quarter", "year")
FIGURES = [
    "tickets.total", "tickets.open", "tickets.resolved", "customers.total", "customers.active", "customers.new",
    "csat.average", "csat.totalResponses",
]  # fmt: skip
MEANS = {"csat.average", "avgResponseTime", "csatAverage"}


def rerun(api: Api, figure: dict[str, Any]) -> list[Any]:
    """Run a figure's statement with its parameters, as a user does, and return the rows."""

    def work(connection: Connection) -> list[Any]:
        return list(connection.execute(text(figure["sql"]), figure["parameters"]).all())

    return api.database.read_now(work)


def check(api: Api, figure: dict[str, Any], answered: float | None) -> None:
    """Check one explained figure against the answer and against its own statement."""
    assert figure["value"] == answered
    assert figure["definition"].endswith(".")
    assert figure["source"].split(";")[0] in {"doc", "site", "ours"}
    rows = rerun(api, figure)
    assert figure["total"] == len(rows)
    assert [row[0] for row in rows] == figure["ids"]
    assert len(set(figure["ids"])) == len(figure["ids"])
    if figure["figure"] not in MEANS:
        assert figure["values"] is None
        assert len(figure["ids"]) == answered
        return
    unit = 60_000_000 if figure["figure"] == "avgResponseTime" else 1
    assert figure["values"] == [row[1] / unit for row in rows]
    if not rows:
        assert answered is None
        return
    # From the statement's own whole numbers, as the contract has it: no float decides a digit.
    exact = Decimal(sum(row[1] for row in rows)) / (len(rows) * unit)
    assert answered == float(exact.quantize(Decimal("0.1"), ROUND_HALF_UP))


@pytest.mark.parametrize("environment", ["live", "test"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_figure_of_every_data_set_is_explained(make_api: MakeApi, dataset: str, environment: str) -> None:
    api = make_api(dataset, rate_limits=False)
    control = Control(api)
    checked = 0
    for number, loaded in enumerate(api.teams):
        # Standing still, so that what is answered and what is explained are of one instant.
        control.call("PUT", f"/teams/{loaded.id}/clock", {"action": "freeze"})
        key = loaded.keys[f"sk_{environment}"]
        assert key is not None
        for period in PERIODS:
            answer = api.data(f"overview?period={period}", key, number)
            explained = control.call(
                "GET", f"/teams/{loaded.id}/explain/overview", period=period, environment=environment, limit=10_000
            )
            assert (explained["environment"], explained["period"]) == (environment, period)
            assert [figure["figure"] for figure in explained["figures"]] == FIGURES
            for figure in explained["figures"]:
                part, name = figure["figure"].split(".")
                check(api, figure, answer[part][name])
                checked += 1
        answers = api.data("agents", key, number)
        explained = control.call("GET", f"/teams/{loaded.id}/explain/agents", environment=environment, limit=10_000)
        agents = explained["agents"]
        assert [agent["userId"] for agent in agents] == [agent["userId"] for agent in answers]
        for agent, answer in zip(agents, answers, strict=True):
            assert [figure["figure"] for figure in agent["figures"]] == [
                "ticketsResolved", "avgResponseTime", "csatAverage",
            ]  # fmt: skip
            for figure in agent["figures"]:
                check(api, figure, answer[figure["figure"]])
                checked += 1
    assert checked >= len(PERIODS) * len(FIGURES)


def test_an_explanation_names_its_window_and_follows_each_write(team: Team) -> None:
    explained = team.call("GET", "/explain/overview")
    assert (explained["period"], explained["environment"]) == ("week", "test")
    assert (explained["after"], explained["until"]) == ("2025-12-03T14:30:00Z", "2025-12-10T14:30:00Z")
    team.call("POST", "/customers", {"id": "cus_1", "createdAt": "now"})
    by_name = {figure["figure"]: figure for figure in team.call("GET", "/explain/overview")["figures"]}
    assert by_name["customers.new"]["ids"] == ["cus_1"]
    assert by_name["customers.new"]["parameters"]["now"] == 1_765_377_000_000_000
    assert team.call("GET", "/explain/agents") == {
        "environment": "test", "until": "2025-12-10T14:30:00Z", "total": 0, "agents": [],
    }  # fmt: skip


def test_explanations_list_the_rows_by_their_control_ids(team: Team) -> None:
    team.call("POST", "/members", {"id": "usr_1", "name": "Jane"})
    team.call("POST", "/customers", {"id": "cus_1"})
    ticket = {"customerId": "cus_1", "assigneeId": "usr_1", "createdAt": "-1h", "firstResponseAt": "-50m"}
    team.call("POST", "/tickets", [{"id": "tkt_1", **ticket}, {"id": "tkt_2", **ticket, "status": "resolved"}])
    team.call("POST", "/csat-responses", {"id": "csat_1", "ticketId": "tkt_2", "score": 4})
    (agent,) = team.call("GET", "/explain/agents")["agents"]
    assert agent["userId"] == "usr_1"
    assert [(figure["ids"], figure["values"]) for figure in agent["figures"]] == [
        (["tkt_2"], None), (["tkt_1", "tkt_2"], [10.0, 10.0]), (["csat_1"], [4.0]),
    ]  # fmt: skip
    figures = {figure["figure"]: figure["ids"] for figure in team.call("GET", "/explain/overview")["figures"]}
    assert figures["tickets.open"] == ["tkt_1"]
    assert figures["customers.active"] == ["cus_1"]
    assert figures["csat.average"] == figures["csat.totalResponses"] == ["csat_1"]


@pytest.mark.parametrize(
    "query", [{"period": "decade"}, {"period": ""}, {"environment": "staging"}, {"limit": "0"}, {"limit": "10001"}]
)
def test_what_can_not_be_explained_is_refused(team: Team, query: dict[str, str]) -> None:
    problem = team.refused(400, "GET", "/explain/overview", **query)
    assert problem["errors"][0]["field"] == next(iter(query))


def test_a_mean_over_nothing_is_explained_as_it_is_answered(make_api: MakeApi) -> None:
    team = Control(make_api(empty_mean="zero")).team()
    by_name = {figure["figure"]: figure for figure in team.call("GET", "/explain/overview")["figures"]}
    assert by_name["csat.average"]["value"] == team.data()["csat"]["average"] == 0


def three_agents(team: Team) -> None:
    """Add three agents with two tickets each: resolved, answered after two minutes, scored."""
    team.call("POST", "/customers", {"id": "cus_1"})
    team.call("POST", "/members", [{"id": f"usr_{number}", "name": "Jane"} for number in range(3)])
    for number in range(6):
        ticket = {"id": f"tkt_{number}", "customerId": "cus_1", "assigneeId": f"usr_{number % 3}", "status": "resolved"}
        team.call("POST", "/tickets", ticket | {"createdAt": "-1h", "firstResponseAt": "-58m", "resolvedAt": "-50m"})
        team.call("POST", "/csat-responses", {"id": f"csat_{number}", "ticketId": f"tkt_{number}", "score": 4})


def test_ids_are_limited_and_their_total_is_told(team: Team) -> None:
    three_agents(team)
    for limit in (1, 2, 6):
        shown = team.call("GET", "/explain/overview", limit=limit)["figures"]
        by_name = {figure["figure"]: figure for figure in shown}
        assert by_name["tickets.total"]["total"] == by_name["csat.average"]["total"] == 6
        assert by_name["customers.active"]["total"] == 1
        assert by_name["tickets.total"]["ids"] == [f"tkt_{number}" for number in range(limit)]
        assert by_name["csat.average"]["values"] == [4] * limit
        answer = team.call("GET", "/explain/agents", limit=limit)
        assert [agent["userId"] for agent in answer["agents"]] == ["usr_0", "usr_1", "usr_2"]
        for number, agent in enumerate(answer["agents"]):
            tickets, csat = ([f"{kind}_{number}", f"{kind}_{number + 3}"][:limit] for kind in ("tkt", "csat"))
            assert [figure["total"] for figure in agent["figures"]] == [2, 2, 2]
            assert [(figure["ids"], figure["values"]) for figure in agent["figures"]] == [
                (tickets, None), (tickets, [2.0] * len(tickets)), (csat, [4.0] * len(csat)),
            ]  # fmt: skip


@pytest.mark.parametrize(
    ("bound", "value", "pages"),
    [
        ("MOST_EXPLAINED_AGENTS", 2, [["usr_0", "usr_1"], ["usr_2"]]),
        ("MOST_EXPLAINED_AGENT_IDS", 12, [["usr_0", "usr_1"], ["usr_2"]]),
        ("MOST_EXPLAINED_AGENT_IDS", 1, [["usr_0"], ["usr_1"], ["usr_2"]]),
    ],
)
def test_agents_are_explained_in_bounded_pages(
    team: Team, monkeypatch: pytest.MonkeyPatch, bound: str, value: int, pages: list[list[str]]
) -> None:
    three_agents(team)
    monkeypatch.setattr(bounds, bound, value)
    found: list[list[str]] = []
    while sum(map(len, found)) < 3:
        answer = team.call("GET", "/explain/agents", offset=sum(map(len, found)))
        assert answer["total"] == 3
        found.append([agent["userId"] for agent in answer["agents"]])
    assert found == pages
    assert team.call("GET", "/explain/agents", offset=3)["agents"] == []


def test_the_number_of_statements_does_not_depend_on_the_agents(team: Team) -> None:
    team.call("POST", "/members", [{"id": f"usr_{number}", "name": "Jane"} for number in range(50)])
    executed: list[str] = []

    def note(*arguments: Any) -> None:
        executed.append(arguments[2])

    engine = team.control.api.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert len(team.call("GET", "/explain/agents")["agents"]) == 50
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(executed) < 20
