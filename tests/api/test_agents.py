"""GET …/analytics/agents."""

import json

import pytest
from tests.conftest import Api, MakeApi


@pytest.mark.states("path.agents", "agents.object")
def test_the_documented_body_is_answered_key_by_key_and_in_the_same_order(api: Api) -> None:
    response = api.get("agents")
    assert response.status_code == 200
    assert json.dumps(response.json()) == json.dumps(
        {
            "success": True,
            "data": [
                {
                    "object": "agent_stats",
                    "userId": "usr_abc",
                    "name": "Jane",
                    "ticketsResolved": 45,
                    "avgResponseTime": 12.5,
                    "csatAverage": 4.8,
                }
            ],
        }
    )


@pytest.mark.states("agents.order")
def test_agents_are_ordered_by_resolved_then_name_then_id(make_api: MakeApi) -> None:
    agents = make_api("edge").data("agents")
    assert [agent["userId"] for agent in agents] == ["usr_tie_a", "usr_tie_b", "usr_idle", "usr_leaving"]


@pytest.mark.states("mean.empty", "agents.all-members")
def test_an_agent_without_tickets_has_means_over_nothing(make_api: MakeApi) -> None:
    idle = make_api("edge").data("agents")[2]
    assert idle == {
        "object": "agent_stats",
        "userId": "usr_idle",
        "name": "Idle",
        "ticketsResolved": 0,
        "avgResponseTime": None,
        "csatAverage": None,
    }


def test_a_mean_over_nothing_is_zero_if_a_setting_says_so(make_api: MakeApi) -> None:
    idle = make_api("edge", empty_mean="zero").data("agents")[2]
    assert (idle["avgResponseTime"], idle["csatAverage"]) == (0, 0)


@pytest.mark.states("agents.no-period")
def test_any_query_is_ignored(api: Api) -> None:
    assert api.data("agents?period=fortnight") == api.data("agents")


def test_a_team_without_members_has_no_agents(make_api: MakeApi) -> None:
    assert make_api("empty").data("agents") == []


def test_live_and_test_are_two_sets_of_data(api: Api) -> None:
    assert [agent["name"] for agent in api.data("agents", "sk_test")] == ["Jane", "Sam"]
