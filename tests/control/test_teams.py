"""Teams: created from anything, reset to where they began, and never seen by each other."""

import re
from typing import Any

import pytest
from tests.conftest import MakeApi, assert_envelope
from tests.control.conftest import Control, Team, assert_problem

from cstar_mock.contract.errors import StoreUnavailable
from cstar_mock.store.database import Database
from cstar_mock.teams.teams import set_rate_limits

INLINE: dict[str, Any] = {
    "clock": "2025-12-10T14:30:00Z",
    "rateLimits": {"secret": 50},
    "faults": [{"id": "one", "match": {"endpoint": "agents"}, "status": 503}],
    "test": {
        "members": [{"id": "usr_1", "name": "Jane"}],
        "customers": [{"id": "cus_1"}],
        "tickets": [{"id": "tkt_1", "customerId": "cus_1", "status": "open", "createdAt": "-1h"}],
    },
}
FIGURES: dict[str, Any] = {
    "overview": {"period": "week", "tickets": {"total": 8, "open": 3, "resolved": 4}},
    "agents": [{"userId": "usr_1", "name": "Jane", "ticketsResolved": 2}],
}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"dataset": "busy"},
        {"dataset": "documented"},
        {"dataset": INLINE},
        {"answers": FIGURES},
        {"answers": {"environment": "live", **FIGURES}},
        {"clock": "2025-12-10T14:30:00Z"},
        {"name": "Ours", "slug": "ours"},
    ],
)
def test_a_team_is_created_with_its_four_keys(control: Control, content: dict[str, Any]) -> None:
    response = control.send("POST", "/teams", content)
    assert response.status_code == 201
    created = response.json()
    assert list(created) == ["id", "slug", "url", "keys"]
    assert created["url"] == f"http://127.0.0.1/api/v1/teams/{created['id']}"
    assert list(created["keys"]) == ["sk_live", "sk_test", "pk_live", "pk_test"]
    team = Team(control, created["id"], created["slug"], created["keys"])
    for prefix, key in created["keys"].items():
        assert re.fullmatch(rf"{prefix}_[A-Za-z0-9_-]{{32}}", key)
        who = team.get("/api/v1/auth/whoami", prefix).json()["data"]
        assert (who["teamId"], who["teamSlug"]) == (team.id, team.slug)
        assert (who["keyType"], who["environment"]) == (
            "secret" if prefix[:2] == "sk" else "publishable",
            prefix[3:],
        )
    assert control.api.client.get(f"{created['url']}/analytics/overview", headers=_bearer(team)).status_code == 200


@pytest.mark.parametrize("source", [{"dataset": INLINE}, {"answers": FIGURES, "clock": "2025-12-10T14:30:00Z"}])
def test_faults_and_limits_of_a_creation_win_over_those_of_its_data_set(
    control: Control, source: dict[str, Any]
) -> None:
    team = control.team(**source, faults=[{"status": 502, "failRequestCount": 1}], rateLimits={"secret": 7})
    for _ in range(2):
        failed = team.get()
        assert (failed.status_code, failed.headers["X-RateLimit-Limit"]) == (502, "7")
        assert (team.get().status_code, team.get("agents").status_code) == (200, 200)
        team.call("POST", "/reset")
    control.refused(400, "POST", "/teams", {"faults": [{"status": "nosuch"}]})
    control.refused(400, "POST", "/teams", {"rateLimits": {"secret": -1}})


def _bearer(team: Team) -> dict[str, str]:
    return {"Authorization": f"Bearer {team.keys['sk_test']}"}


def test_an_empty_team_has_no_rows_and_a_running_clock(control: Control) -> None:
    team = control.team()
    assert team.data()["tickets"] == {"total": 0, "open": 0, "resolved": 0}
    assert team.data("agents") == []
    assert team.call("GET", "/clock")["frozen"] is False


def test_a_team_from_a_data_set_has_its_rows_clock_and_rules(control: Control) -> None:
    team = control.team(dataset="documented")
    assert team.data(key="sk_live")["tickets"] == {"total": 142, "open": 23, "resolved": 89}
    assert team.call("GET", "/clock")["now"] == "2025-12-10T14:30:00Z"
    assert len(team.call("GET", "/faults")["faults"]) == 3
    assert team.call("GET", "")["dataset"] == "documented"


def test_a_team_from_content_has_its_rows_clock_limits_and_rules(control: Control) -> None:
    team = control.team(dataset=INLINE)
    assert team.data()["tickets"] == {"total": 1, "open": 1, "resolved": 0}
    assert team.call("GET", "/clock")["now"] == "2025-12-10T14:30:00Z"
    assert team.call("GET", "/rate-limits")["secret"] == 50
    assert team.get("agents").status_code == 503


@pytest.mark.parametrize("environment", ["live", "test"])
def test_a_team_from_answers_gives_them_in_one_environment(control: Control, environment: str) -> None:
    team = control.team(answers={"environment": environment, **FIGURES})
    assert team.data(key=f"sk_{environment}")["tickets"] == {"total": 8, "open": 3, "resolved": 4}
    other = "live" if environment == "test" else "test"
    assert team.data(key=f"sk_{other}")["tickets"] == {"total": 0, "open": 0, "resolved": 0}


def test_a_name_and_a_slug_can_be_chosen(control: Control) -> None:
    team = control.team(name="Acme Corp", slug="my-acme")
    assert team.get("/api/v1/auth/whoami").json()["data"]["teamName"] == "Acme Corp"
    assert control.call("GET", "/teams/my-acme") == {
        "id": team.id,
        "slug": "my-acme",
        "name": "Acme Corp",
        "url": f"http://127.0.0.1/api/v1/teams/{team.id}",
        "dataset": None,
        "revision": control.call("GET", "/teams/my-acme")["revision"],
    }


def test_teams_are_listed_and_each_write_lets_the_revision_grow(control: Control) -> None:
    one, two = control.team(slug="one"), control.team(slug="two")
    assert [team["slug"] for team in control.call("GET", "/teams")["teams"]] == ["one", "two"]
    before = one.call("GET", "")["revision"], two.call("GET", "")["revision"]
    one.call("POST", "/members", {"name": "Jane"})
    assert (one.call("GET", "")["revision"], two.call("GET", "")["revision"]) == (before[0] + 1, before[1])


@pytest.mark.parametrize(
    ("status", "content", "mentioned"),
    [
        (409, {"slug": "taken"}, "taken"),
        (409, {"dataset": "nothing-of-that-name"}, "nothing-of-that-name"),
        (409, {"dataset": {"test": {"tickets": [{"customerId": "cus_9", "status": "open", "createdAt": "now"}]}}},
         "cus_9"),
        (409, {"answers": {"overview": {"tickets": {"total": 1}, "customers": {"active": 2}}}}, "active"),
        (409, {"dataset": "busy", "clock": "2025-12-10T14:30:00Z"}, "leave out"),
        (400, {"colour": "red"}, "colour"),
        (400, {"slug": "No Slug"}, "slug"),
        (400, {"clock": "yesterday"}, "yesterday"),
        (400, {"dataset": {"colour": "red"}}, "colour"),
        (400, [], "object"),
        (400, "text", "object"),
        (400, b"{", ""),
    ],
)  # fmt: skip
def test_what_can_not_be_created_is_refused_with_the_reason(
    control: Control, status: int, content: Any, mentioned: str
) -> None:
    control.team(slug="taken")
    assert_problem(control.send("POST", "/teams", content), status, mentioned)
    assert [team["slug"] for team in control.call("GET", "/teams")["teams"]] == ["taken"]


def test_a_deleted_team_is_gone_with_its_keys(control: Control) -> None:
    team, other = control.team(dataset="busy"), control.team()
    assert team.get().status_code == 200
    assert control.send("DELETE", f"/teams/{team.slug}").status_code == 204
    for key in team.keys.values():
        assert_envelope(team.get(key=key), 401, "authentication_required")
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/reset"), ("GET", "/clock"), ("GET", "/requests")):
        team.refused(404, method, path)
    assert other.get().status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", None),
        ("POST", "/reset", None),
        ("PUT", "/answers", {}),
        ("GET", "/members", None),
        ("POST", "/members", {"name": "Jane"}),
        ("GET", "/members/usr_1", None),
        ("PATCH", "/members/usr_1", {"name": "Jane"}),
        ("DELETE", "/members/usr_1", None),
        ("GET", "/clock", None),
        ("PUT", "/clock", {"action": "reset"}),
        ("GET", "/faults", None),
        ("PUT", "/faults", []),
        ("POST", "/faults", []),
        ("DELETE", "/faults", None),
        ("DELETE", "/faults/one", None),
        ("GET", "/rate-limits", None),
        ("PUT", "/rate-limits", {}),
        ("DELETE", "/rate-limits/counters", None),
        ("GET", "/requests", None),
        ("DELETE", "/requests", None),
        ("POST", "/requests/count", {}),
        ("POST", "/requests/find", {}),
        ("GET", "/requests/req_1", None),
        ("GET", "/explain/overview", None),
        ("GET", "/explain/agents", None),
        ("GET", "/keys", None),
        ("POST", "/keys", {}),
        ("DELETE", "/keys/key_1", None),
    ],
)
def test_an_unknown_team_is_a_404_everywhere(control: Control, method: str, path: str, body: Any) -> None:
    problem = control.refused(404, method, f"/teams/nobody{path}", body)
    assert "nobody" in problem["detail"]


def test_an_unknown_route_is_a_404_and_a_wrong_method_a_405_with_allow(control: Control) -> None:
    control.refused(404, "GET", "/nothing")
    control.refused(404, "GET", "/")
    response = control.send("DELETE", "/teams")
    assert_problem(response, 405)
    assert set(response.headers["Allow"].split(", ")) <= {"GET", "POST"}


@pytest.mark.parametrize("content", [{}, {"dataset": "documented"}, {"dataset": INLINE}, {"answers": FIGURES}])
def test_a_reset_team_is_what_it_was_created_from(control: Control, content: dict[str, Any]) -> None:
    team = control.team(**content)
    before = [team.data(key=key) for key in ("sk_live", "sk_test")]
    figures = team.call("GET", "/rate-limits"), [rule["rule"] for rule in team.call("GET", "/faults")["faults"]]
    frozen = team.call("GET", "/clock")
    listed = [key["id"] for key in team.call("GET", "/keys")["keys"]]
    remaining = int(team.get().headers["X-RateLimit-Remaining"])

    team.call("POST", "/customers", {"id": "cus_new"})
    team.call("POST", "/tickets", {"customerId": "cus_new"})
    team.call("PUT", "/rate-limits", {"secret": 7})
    later = team.call("POST", "/keys", {"prefix": "sk_test"})["key"]
    assert team.get(key=later).status_code == 200
    for key_id in listed:
        team.call("DELETE", f"/keys/{key_id}")
    assert team.get().status_code == 401
    team.freeze("2030-01-01T00:00:00Z")
    team.advance("P1D")
    team.call("PUT", "/faults", {"status": 500})

    assert team.call("POST", "/reset") is None
    assert [request["id"] for request in team.call("GET", "/requests")["requests"]] == []
    assert [team.data(key=key) for key in ("sk_live", "sk_test")] == before
    assert (
        team.call("GET", "/rate-limits"),
        [rule["rule"] for rule in team.call("GET", "/faults")["faults"]],
    ) == figures
    after = team.call("GET", "/clock")
    assert (after["frozen"], after["offsetSeconds"]) == (frozen["frozen"], 0)
    assert frozen["now"] == after["now"] or not frozen["frozen"]
    assert [key["id"] for key in team.call("GET", "/keys")["keys"]] == listed
    assert_envelope(team.get(key=later), 401, "authentication_required")
    assert int(team.get().headers["X-RateLimit-Remaining"]) >= remaining - 1


def test_a_reset_begins_counts_of_rules_and_of_limits_anew(control: Control) -> None:
    rule = {"match": {"endpoint": "agents"}, "status": 500, "failRequestCount": 1, "id": "once"}
    team = control.team(dataset={"faults": [rule], "rateLimits": {"secret": 3}})
    for _ in range(2):
        assert [team.get("agents").status_code for _ in range(4)] == [500, 200, 200, 429]
        assert team.call("GET", "/requests")["meta"]["total"] == 4
        team.call("POST", "/reset")


def test_everything_is_reset_at_once(control: Control) -> None:
    teams = [control.team(), control.team(answers=FIGURES)]
    for team in teams:
        team.call("POST", "/customers", {"id": "cus_more"})
        team.get()
    control.api.client.get("/nothing")
    assert control.call("POST", "/reset") == {"teams": 2}
    assert teams[0].data()["customers"]["total"] == 0
    assert teams[1].data()["tickets"]["total"] == 8
    assert control.call("GET", "/requests/unmatched")["requests"] == []
    assert [team.call("GET", "/requests")["meta"]["total"] for team in teams] == [1, 1]


def test_two_teams_never_see_each_other(control: Control) -> None:
    one, two = control.team(answers=FIGURES), control.team(clock="2020-01-01T00:00:00Z")
    untouched = two.data(), two.data("agents"), two.call("GET", "/clock"), two.call("GET", "/rate-limits")
    one.call("POST", "/members", {"id": "usr_same", "name": "One"})
    two.call("POST", "/customers", {"id": "cus_same", "createdAt": "+1d"})
    one.call("POST", "/customers", {"id": "cus_same"})
    one.advance("P30D")
    one.call("PUT", "/faults", {"status": 500})
    one.call("PUT", "/rate-limits", {"secret": 1})
    for _ in range(3):
        one.get()
    assert (two.data(), two.data("agents"), two.call("GET", "/clock"), two.call("GET", "/rate-limits")) == untouched
    assert two.call("GET", "/members")["meta"]["total"] == 0
    assert two.call("GET", "/faults")["faults"] == []
    two.refused(404, "GET", "/members/usr_same")
    two.refused(409, "POST", "/tickets", {"customerId": "cus_nobody"})
    assert_envelope(one.get(f"/api/v1/teams/{two.id}/analytics/overview", "sk_live"), 500, "internal_error")
    one.call("DELETE", "/faults")
    one.call("DELETE", "/rate-limits/counters")
    assert_envelope(one.get(f"/api/v1/teams/{two.id}/analytics/overview"), 403, "insufficient_permissions")
    assert {entry["request"]["key"]["lastFour"] for entry in two.call("GET", "/requests")["requests"]} == {
        two.keys["sk_test"][-4:]
    }
    one.call("POST", "/reset")
    assert two.call("GET", "/customers/cus_same")["id"] == "cus_same"


def test_a_changed_limit_holds_within_the_window_and_a_changed_length_begins_a_new_one(control: Control) -> None:
    team = control.team()

    def remaining() -> int:
        return int(team.get().headers["X-RateLimit-Remaining"])

    team.call("PUT", "/rate-limits", {"secret": 10, "window": 600})
    assert [remaining() for _ in range(3)] == [9, 8, 7]
    team.call("PUT", "/rate-limits", {"secret": 5, "window": 600})
    assert remaining() == 1
    team.call("PUT", "/rate-limits", {"secret": 5, "window": 60})
    assert remaining() == 4


def test_limits_can_be_set_read_and_counted_anew(control: Control) -> None:
    team = control.team()
    assert team.call("GET", "/rate-limits") == {"enabled": True, "secret": 1000, "publishable": 100, "window": 3600}
    assert team.call("PUT", "/rate-limits", {"secret": 2, "window": 60}) == {
        "enabled": True, "secret": 2, "publishable": 100, "window": 60,
    }  # fmt: skip
    answers = [team.get() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["X-RateLimit-Window"] == "60"
    team.call("DELETE", "/rate-limits/counters")
    assert team.get().status_code == 200
    team.call("PUT", "/rate-limits", {"enabled": False})
    unlimited = [team.get() for _ in range(5)]
    assert all(answer.status_code == 200 and "X-RateLimit-Limit" not in answer.headers for answer in unlimited)
    team.refused(400, "PUT", "/rate-limits", {"secret": 0})
    team.refused(400, "PUT", "/rate-limits", {"secrets": 1})


def test_keys_are_created_listed_and_revoked(control: Control) -> None:
    team = control.team(clock="2025-12-10T14:30:00Z")
    made = team.call(
        "POST", "/keys", {"prefix": "sk_live", "name": "mine", "rateLimit": 1, "expiresAt": "+1h"}
    )["key"]  # fmt: skip
    (listed,) = [key for key in team.call("GET", "/keys")["keys"] if key["name"] == "mine"]
    assert listed == {
        "id": listed["id"], "prefix": "sk_live", "lastFour": made[-4:], "name": "mine", "rateLimit": 1,
        "expiresAt": "2025-12-10T15:30:00Z", "state": "valid until 2025-12-10T15:30:00Z",
    }  # fmt: skip
    assert [team.get(key=made).status_code for _ in range(2)] == [200, 429]
    assert team.call("DELETE", f"/keys/{listed['id']}") is None
    assert team.get(key=made).status_code == 401
    team.refused(404, "DELETE", "/keys/key_unknown")
    other = control.team()
    other.refused(404, "DELETE", f"/keys/{listed['id']}")
    for body in ({"prefix": "sk"}, {"rateLimit": 0}, {"expiresAt": "soon"}, {"colour": 1}):
        team.refused(400, "POST", "/keys", body)
    team.freeze("9899-12-31T00:00:00Z")
    team.refused(409, "POST", "/keys", {"expiresAt": "+6000w"})


def test_it_says_that_it_is_healthy_and_its_version(control: Control) -> None:
    health = control.call("GET", "/health")
    assert (list(health), health["status"]) == (["status", "version", "uptimeInSeconds", "timestamp"], "healthy")
    assert control.call("GET", "/version") == {"version": health["version"]}


def test_a_store_out_of_reach_is_a_503(make_api: MakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    from cstar_mock.contract.errors import StoreUnavailable

    control = Control(make_api())

    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(control.api.database, "read", fail)
    monkeypatch.setattr(type(control.api.database), "read", fail)
    response = control.send("GET", "/teams")
    assert_problem(response, 503)
    assert response.headers["Retry-After"] == "1"


def test_all_recipes_of_a_request_count_together(control: Control) -> None:
    """Also the customers that a recipe makes by default: one for three tickets."""
    recipes = [{"tickets": 30_000, "members": 0}] * 2
    content = {"live": {"recipes": recipes}, "test": {"recipes": recipes}}
    assert "not 160,000" in str(control.refused(409, "POST", "/teams", {"dataset": content}))


@pytest.mark.parametrize(("method", "path", "work"), [("DELETE", "", "delete_team"), ("POST", "/reset", "reset_team")])
def test_a_delete_or_reset_that_fails_forgets_nothing(
    control: Control, monkeypatch: pytest.MonkeyPatch, method: str, path: str, work: str
) -> None:
    team = control.team(faults=[{"id": "once", "status": 500, "failRequestCount": 1}])
    assert [team.get().status_code for _ in range(2)] == [500, 200]

    def fail(_connection: object, _team: str) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(f"cstar_mock.control.teams.{work}", fail)
        team.refused(503, method, path)
    assert team.get().headers["X-RateLimit-Remaining"] == "997"
    assert team.call("GET", "/faults")["faults"][0]["failed"] == 1
    assert len(team.call("GET", "/requests")["requests"]) == 3
    team.call(method, path)
    if path:
        assert team.get().headers["X-RateLimit-Remaining"] == "999"
        assert len(team.call("GET", "/requests")["requests"]) == 1


def test_limits_that_are_set_are_answered_although_others_are_set_right_after(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting limits is one transaction: nothing of the answer is read after it."""
    team = control.team()
    write = Database.write

    async def write_and_set_others(self: Database, work: Any, *args: Any) -> Any:
        result = await write(self, work, *args)
        await write(self, set_rate_limits, team.id, {"secret": 5, "window": 10})
        return result

    monkeypatch.setattr(Database, "write", write_and_set_others)
    shown = team.call("PUT", "/rate-limits", {"secret": 7, "window": 20})
    assert (shown["secret"], shown["window"]) == (7, 20)
