"""Answers: figures that the API must give, in the documented shapes."""

from typing import Any

import pytest
from tests.control.conftest import Control, Team

OVERVIEW: dict[str, Any] = {
    "object": "analytics_overview",
    "period": "week",
    "tickets": {"total": 142, "open": 23, "resolved": 89},
    "customers": {"total": 450, "active": 120, "new": 15},
    "csat": {"average": 4.2, "totalResponses": 67},
}
AGENTS: list[dict[str, Any]] = [
    {"object": "agent_stats", "userId": "usr_abc", "name": "Jane", "ticketsResolved": 45, "avgResponseTime": 12.5,
     "csatAverage": 4.8},
    {"object": "agent_stats", "userId": "usr_xyz", "name": "Sam", "ticketsResolved": 0, "avgResponseTime": None,
     "csatAverage": None},
]  # fmt: skip
ROWS = ("members", "customers", "tickets", "csat-responses")


@pytest.mark.parametrize("environment", ["live", "test"])
def test_documented_bodies_are_answers(team: Team, environment: str) -> None:
    other = "live" if environment == "test" else "test"
    untouched = team.data(key=f"sk_{other}"), team.data("agents", f"sk_{other}")
    assert team.call("PUT", "/answers", {"environment": environment, "overview": OVERVIEW, "agents": AGENTS}) is None
    assert team.data(key=f"sk_{environment}") == OVERVIEW
    assert team.data("agents", f"sk_{environment}") == AGENTS
    assert (team.data(key=f"sk_{other}"), team.data("agents", f"sk_{other}")) == untouched


def test_the_environment_is_test_unless_said(team: Team) -> None:
    team.call("PUT", "/answers", {"overview": OVERVIEW})
    assert team.data(key="sk_test") == OVERVIEW
    assert team.data(key="sk_live")["tickets"]["total"] == 0


@pytest.mark.parametrize("period", ["day", "week", "month", "quarter", "year"])
def test_answers_are_of_any_period(team: Team, period: str) -> None:
    team.call("PUT", "/answers", {"overview": {**OVERVIEW, "period": period}})
    assert team.data(f"overview?period={period}") == {**OVERVIEW, "period": period}


@pytest.mark.parametrize("part", ["tickets", "customers", "csat"])
def test_parts_and_single_figures_can_be_left_out(team: Team, part: str) -> None:
    team.call("PUT", "/answers", {"overview": {part: OVERVIEW[part]}})
    assert team.data()[part] == OVERVIEW[part]
    for name, figure in OVERVIEW[part].items():
        team.call("PUT", "/answers", {"overview": {part: {name: figure}}})
        assert team.data()[part][name] == figure


def test_new_answers_take_the_place_of_all_rows_of_their_environment(team: Team) -> None:
    team.call("PUT", "/answers", {"overview": OVERVIEW, "agents": AGENTS})
    team.call("PUT", "/answers", {"overview": {"tickets": {"total": 3, "open": 0, "resolved": 1}}})
    assert team.data()["tickets"] == {"total": 3, "open": 0, "resolved": 1}
    assert team.data("agents") == []
    team.call("PUT", "/answers", {})
    assert [team.call("GET", f"/{kind}")["meta"]["total"] for kind in ROWS] == [0, 0, 0, 0]


def test_rows_that_were_built_are_ordinary_rows(team: Team) -> None:
    team.call("PUT", "/answers", {"overview": OVERVIEW})
    (ticket, *_), total = (page := team.call("GET", "/tickets", status="open", limit=1))["items"], page["meta"]["total"]
    assert total > 0
    team.call("PATCH", f"/tickets/{ticket['id']}", {"status": "resolved"})
    assert team.data()["tickets"]["open"] == 22
    assert team.data()["tickets"]["resolved"] == 90
    team.call("POST", "/customers", {"createdAt": "now"})
    assert team.data()["customers"] == {"total": 451, "active": 120, "new": 16}


def test_answers_hold_though_the_clock_runs(control: Control) -> None:
    team = control.team()
    for period in ("day", "week", "year"):
        team.call("PUT", "/answers", {"overview": {**OVERVIEW, "period": period}, "agents": AGENTS})
        assert team.data(f"overview?period={period}") == {**OVERVIEW, "period": period}
        team.advance("PT10M")  # A slow test: the figures have not moved.
        assert team.data(f"overview?period={period}") == {**OVERVIEW, "period": period}
        assert team.data("agents") == AGENTS


@pytest.mark.parametrize(
    ("body", "field", "mentioned"),
    [
        ({"overview": {"tickets": {"total": 3}, "customers": {"active": 4}}}, "overview.customers.active", "3"),
        ({"overview": {"tickets": {"total": 3}, "customers": {"active": 0}}}, "overview.customers.active", ""),
        ({"overview": {"customers": {"total": 3, "active": 4}}}, "overview.customers", "3"),
        ({"overview": {"customers": {"total": 3, "new": 4}}}, "overview.customers.new", "3"),
        ({"overview": {"csat": {"average": 4.2, "totalResponses": 0}}}, "overview.csat.average", ""),
        ({"overview": {"csat": {"average": None, "totalResponses": 2}}}, "overview.csat.average", ""),
        ({"overview": {"csat": {"average": 4.2, "totalResponses": 1}}}, "overview.csat.average", "4.2"),
        ({"agents": [{"userId": "usr_1", "name": "A"}, {"userId": "usr_1", "name": "B"}]}, "agents[1].userId", "usr_1"),
    ],
)
def test_figures_that_contradict_each_other_are_refused_and_the_store_is_as_it_was(
    team: Team, body: dict[str, Any], field: str, mentioned: str
) -> None:
    team.call("PUT", "/answers", {"overview": OVERVIEW, "agents": AGENTS})
    before = [team.call("GET", f"/{kind}") for kind in ROWS], team.call("GET", "")["revision"]
    problem = team.refused(409, "PUT", "/answers", body)
    assert any(error["field"].startswith(field) for error in problem["errors"]), problem
    assert field.rpartition(".")[2] in problem["detail"]
    assert mentioned in problem["detail"]
    assert ([team.call("GET", f"/{kind}") for kind in ROWS], team.call("GET", "")["revision"]) == before
    assert (team.data(), team.data("agents")) == (OVERVIEW, AGENTS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"overview": {"period": "decade"}}, "overview.period"),
        ({"overview": {"tickets": {"total": -1}}}, "overview.tickets.total"),
        ({"overview": {"tickets": {"totals": 1}}}, "overview.tickets.totals"),
        ({"overview": {"csat": {"average": 5.1}}}, "overview.csat.average"),
        ({"agents": [{"userId": "usr_1"}]}, "agents[0].name"),
        ({"agents": [{"name": "Jane", "csatAverage": 0.5}]}, "agents[0].csatAverage"),
        ({"agents": {}}, "agents"),
        ({"environment": "staging"}, "environment"),
        ({"tickets": {}}, "tickets"),
    ],
)
def test_bodies_that_are_no_answers_are_refused(team: Team, body: dict[str, Any], field: str) -> None:
    assert field in [error["field"] for error in team.refused(400, "PUT", "/answers", body)["errors"]]


def test_a_reset_after_other_answers_gives_the_first_ones(control: Control) -> None:
    team = control.team(answers={"overview": OVERVIEW})
    team.call("PUT", "/answers", {"overview": {"tickets": {"total": 1}}})
    team.call("POST", "/reset")
    assert team.data() == OVERVIEW
