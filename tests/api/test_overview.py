"""GET …/analytics/overview."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete
from starlette.testclient import TestClient
from tests.conftest import Api, MakeApi, assert_envelope

from cstar_mock import Settings, create_app
from cstar_mock.datasets.format import TeamData
from cstar_mock.store import migrations, rows
from cstar_mock.store.database import Database
from cstar_mock.store.models import ApiKey
from cstar_mock.teams import teams
from cstar_mock.teams.lifecycle import create_team, delete_team
from cstar_mock.teams.load import load_datasets

DOCUMENTED = {
    "success": True,
    "data": {
        "object": "analytics_overview",
        "period": "week",
        "tickets": {"total": 142, "open": 23, "resolved": 89},
        "customers": {"total": 450, "active": 120, "new": 15},
        "csat": {"average": 4.2, "totalResponses": 67},
    },
}


@pytest.mark.states(
    "path.overview",
    "success.envelope",
    "success.meta",
    "success.content-type",
    "overview.object",
    "count.integer",
    "auth.bearer",
)
def test_the_documented_body_is_answered_key_by_key_and_in_the_same_order(api: Api) -> None:
    response = api.get("overview?period=week")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert json.dumps(response.json()) == json.dumps(DOCUMENTED)


@pytest.mark.states("period.default")
def test_week_is_the_default(api: Api) -> None:
    assert api.get("overview").json() == DOCUMENTED


@pytest.mark.states("key.environments")
def test_live_and_test_are_two_sets_of_data(api: Api) -> None:
    assert api.data("overview", "sk_test") == {
        "object": "analytics_overview",
        "period": "week",
        "tickets": {"total": 8, "open": 3, "resolved": 4},
        "customers": {"total": 12, "active": 6, "new": 2},
        "csat": {"average": 3.5, "totalResponses": 2},
    }


@pytest.mark.states("period.echo", "period.values")
@pytest.mark.parametrize("period", ["day", "week", "month", "quarter", "year"])
def test_the_period_is_echoed(api: Api, period: str) -> None:
    assert api.data(f"overview?period={period}")["period"] == period


@pytest.mark.states("figure.open.now")
def test_open_and_total_customers_do_not_depend_on_the_period(api: Api) -> None:
    day, year = api.data("overview?period=day"), api.data("overview?period=year")
    assert day["tickets"]["open"] == year["tickets"]["open"] == 23
    assert day["customers"]["total"] == year["customers"]["total"] == 450
    assert day["tickets"]["total"] < year["tickets"]["total"]


@pytest.mark.states("period.bad", "errors.parameter_invalid", "error.param")
@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("period=fortnight", "'fortnight'"),
        ("period=", "''"),
        ("period", "''"),
        ("period=WEEK", "'WEEK'"),
        ("period=week%20", "'week '"),
        ("period=week&period=week", "'week', 'week'"),
        ("period=%00", "'\\x00'"),
        ("period=%ff", "'\ufffd'"),
        ("period=%zz", "'%zz'"),
    ],
)
def test_a_period_that_is_not_allowed_is_named_with_those_that_are(api: Api, query: str, value: str) -> None:
    error = assert_envelope(api.get(f"overview?{query}"), 400, "parameter_invalid")
    assert error["type"] == "invalid_request_error"
    assert error["param"] == "period"
    assert error["message"].startswith(f"Invalid value for 'period': {value}. Allowed values: ")
    assert "day, week, month, quarter, year" in error["message"]
    assert error["doc_url"] == "https://www.cstar.help/developers/errors#parameter_invalid"


@pytest.mark.states("parameter.unknown")
@pytest.mark.parametrize("query", ["unknown=1", "Period=x", "&&", "=", "period=week&x=%zz", "x[]=1"])
def test_unknown_parameters_are_ignored(api: Api, query: str) -> None:
    assert api.get(f"overview?{query}").json() == DOCUMENTED


@pytest.mark.states("mean.empty")
def test_an_empty_team_answers_zeros_and_null(make_api: MakeApi) -> None:
    api = make_api("empty")
    assert api.data("overview") == {
        "object": "analytics_overview",
        "period": "week",
        "tickets": {"total": 0, "open": 0, "resolved": 0},
        "customers": {"total": 0, "active": 0, "new": 0},
        "csat": {"average": None, "totalResponses": 0},
    }


def test_a_mean_over_nothing_is_zero_if_a_setting_says_so(make_api: MakeApi) -> None:
    api = make_api("empty", empty_mean="zero")
    assert api.data("overview")["csat"] == {"average": 0, "totalResponses": 0}


@pytest.mark.states("figure.closed", "figure.open.statuses")
def test_the_edge_data_set_answers_what_its_last_lines_say(make_api: MakeApi) -> None:
    overview = make_api("edge").data("overview")
    assert overview["tickets"] == {"total": 7, "open": 6, "resolved": 3}
    assert overview["customers"] == {"total": 5, "active": 3, "new": 3}
    assert overview["csat"] == {"average": 4.5, "totalResponses": 2}


def test_the_busy_data_set_fills_every_period(make_api: MakeApi) -> None:
    api = make_api("busy")
    for team in range(2):
        year = api.data("overview?period=year", team=team)
        week = api.data("overview?period=week", team=team)
        assert 0 < week["tickets"]["total"] < year["tickets"]["total"]
        assert 0 < week["tickets"]["resolved"] < year["tickets"]["resolved"]
        assert 1 < year["csat"]["average"] < 5
        assert year["tickets"]["total"] == (4000, 900)[team]


def test_meta_stands_in_a_200_if_a_setting_says_so(make_api: MakeApi) -> None:
    response = make_api("documented", success_meta=True).get("overview")
    body = response.json()
    assert list(body) == ["success", "data", "meta"]
    assert body["meta"] == {"requestId": response.headers["X-Request-Id"], "timestamp": "2025-12-10T14:30:00Z"}


@pytest.mark.one_engine("nothing is remembered on PostgreSQL without asking it")
def test_an_answer_takes_two_statements_and_its_repetition_none(api: Api, statements: list[Any]) -> None:
    """One for the key, one for the figures; the clock stands still, and nobody writes."""
    first = api.get("overview")
    assert len(statements) == 2
    assert api.get("overview").content == first.content
    assert len(statements) == 2


def _delete_everything(connection: Connection, team_id: str) -> None:
    teams.lock(connection, team_id)
    rows.delete_all(connection, team_id)


def test_an_answer_follows_every_write(api: Api) -> None:
    api.get("overview")
    api.database.write_now(_delete_everything, api.teams[0].id)
    assert api.data("overview")["csat"] == {"average": None, "totalResponses": 0}


def test_an_answer_follows_the_writes_of_other_processes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    ours, theirs = Database(url), Database(url)
    migrations.prepare(ours)
    api = Api(TestClient(create_app(Settings(), ours)), ours, load_datasets(ours, ["documented"]))
    assert api.data("overview")["csat"]["totalResponses"] == 67
    theirs.write_now(_delete_everything, api.teams[0].id)
    assert api.data("overview")["csat"]["totalResponses"] == 0
    theirs.write_now(lambda connection: connection.execute(delete(ApiKey)))
    assert api.get("overview").status_code == 401
    ours.close()
    theirs.close()


def test_a_key_that_became_another_teams_gets_no_answer_of_the_first(api: Api) -> None:
    """Its answer was remembered, and computing it again would give it the rows of its new team."""
    path = f"/api/v1/teams/{api.teams[0].id}/analytics/overview"
    assert api.get(path).status_code == 200
    key = api.teams[0].keys["sk_live"]

    def replace(connection: Connection) -> None:
        delete_team(connection, api.teams[0].id)
        create_team(connection, TeamData.model_validate({"slug": "other", "keys": {"sk_live": key}}))

    api.database.write_now(replace)
    assert_envelope(api.get(path), 403, "insufficient_permissions")
