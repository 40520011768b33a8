"""The clock: periods, timestamps, key expiry and rate-limit windows follow it."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.conftest import assert_envelope
from tests.control.conftest import Control, Team

NOON = "2025-12-10T12:00:00Z"


def test_a_clock_runs_in_real_time_unless_told(control: Control) -> None:
    team = control.team()
    before = datetime.now(UTC)
    shown = team.call("GET", "/clock")
    assert before <= datetime.fromisoformat(shown["now"]) <= datetime.now(UTC)
    assert (shown["frozen"], shown["offsetSeconds"], shown["advancedSeconds"]) == (False, 0, 0)


def test_freeze_read_advance_seven_days_read(control: Control) -> None:
    """Must-show line 4: the week is empty, totals remain, the rate-limit window has turned over."""
    team = control.team(answers={"overview": {"tickets": {"total": 8, "open": 3, "resolved": 4},
                                              "customers": {"total": 12, "active": 6, "new": 2},
                                              "csat": {"average": 3.5, "totalResponses": 2}}})  # fmt: skip
    team.call("PUT", "/rate-limits", {"secret": 2})
    assert team.call("PUT", "/clock", {"action": "freeze"})["frozen"] is True
    first = team.get()
    assert first.json()["data"]["tickets"] == {"total": 8, "open": 3, "resolved": 4}
    assert [team.get().status_code for _ in range(2)] == [200, 429]

    team.advance("P7D")
    after = team.get()
    assert after.json()["data"] == {
        "object": "analytics_overview",
        "period": "week",
        "tickets": {"total": 0, "open": 3, "resolved": 0},
        "customers": {"total": 12, "active": 0, "new": 0},
        "csat": {"average": None, "totalResponses": 0},
    }
    assert after.headers["X-RateLimit-Remaining"] == "1"
    assert [team.get().status_code for _ in range(2)] == [200, 429]
    reset = int(after.headers["X-RateLimit-Reset"])
    assert 0 < reset - time.time() <= 3600
    team.advance("PT1H")
    assert team.data("overview?period=month")["tickets"]["total"] == 8


def test_a_key_that_expires_at_noon_is_refused_at_noon(control: Control) -> None:
    """Must-show line 4: refused at 12:00:00 of the team's clock, accepted at 11:59:59."""
    team = control.team(clock="2025-12-10T11:59:58Z")
    key = team.call("POST", "/keys", {"prefix": "sk_test", "expiresAt": NOON})["key"]
    for by, status in (("PT0S", 200), ("PT1S", 200), ("PT1S", 401), ("PT1S", 401)):
        team.advance(by)
        assert team.get(key=key).status_code == status
    team.freeze("2025-12-10T11:59:59.999999Z")
    assert team.get(key=key).status_code == 200
    team.freeze(NOON)
    assert_envelope(team.get(key=key), 401, "authentication_required")


def test_freezing_does_not_stop_the_windows_and_going_back_does_not_undo_an_advance(control: Control) -> None:
    team = control.team()
    team.call("PUT", "/rate-limits", {"secret": 1, "window": 3})
    team.call("PUT", "/clock", {"action": "freeze"})
    assert [team.get().status_code for _ in range(2)] == [200, 429]
    time.sleep(3.1)
    assert team.get().status_code == 200
    team.advance("PT1H")
    assert team.call("PUT", "/clock", {"action": "reset"})["advancedSeconds"] == 3600
    assert team.get().status_code == 200


def test_freezing_elsewhere_turns_no_window_over(team: Team) -> None:
    team.call("PUT", "/rate-limits", {"secret": 1})
    assert team.get().status_code == 200
    team.freeze("2035-01-01T00:00:00Z")
    assert team.get().status_code == 429


def test_timestamps_of_the_envelope_follow(team: Team) -> None:
    def timestamp() -> str:
        response = team.get("overview?period=x")
        assert_envelope(response, 400, "parameter_invalid")
        return str(response.json()["meta"]["timestamp"])

    assert timestamp() == "2025-12-10T14:30:00Z"
    team.advance("P1DT1H1M1S")
    assert timestamp() == "2025-12-11T15:31:01Z"
    team.freeze("2030-01-01T01:00:00+01:00")
    assert timestamp() == "2030-01-01T00:00:00Z"
    team.call("PUT", "/clock", {"action": "reset"})
    assert abs(datetime.fromisoformat(timestamp()).timestamp() - time.time()) < 5


def test_a_running_clock_is_advanced_and_goes_on(control: Control) -> None:
    team = control.team()
    shown = team.call("PUT", "/clock", {"action": "advance", "by": "P1W"})
    assert (shown["frozen"], shown["offsetSeconds"], shown["advancedSeconds"]) == (False, 604_800, 604_800)
    assert abs(datetime.fromisoformat(shown["now"]).timestamp() - time.time() - 604_800) < 5
    later = team.call("GET", "/clock")["now"]
    assert datetime.fromisoformat(later) > datetime.fromisoformat(shown["now"])


def test_a_frozen_clock_stands_still_and_advances_add_up(team: Team) -> None:
    shown = [team.call("PUT", "/clock", {"action": "advance", "by": by}) for by in ("PT1H", "P1D", "PT1S")]
    assert [clock["now"] for clock in shown] == [
        "2025-12-10T15:30:00Z", "2025-12-11T15:30:00Z", "2025-12-11T15:30:01Z",
    ]  # fmt: skip
    assert shown[-1]["advancedSeconds"] == 90_001
    assert team.call("GET", "/clock") == shown[-1]
    assert team.call("PUT", "/clock", {"action": "freeze"}) == shown[-1]


def test_a_clock_frozen_in_the_past_sees_no_later_rows(team: Team) -> None:
    team.call("POST", "/customers", {"id": "cus_1", "createdAt": "now"})
    assert team.data()["customers"]["total"] == 1
    team.freeze("2025-12-10T14:29:59.999999Z")
    assert team.data()["customers"]["total"] == 0


@pytest.mark.parametrize(
    ("status", "body", "field"),
    [
        (400, {}, ""),
        (400, {"action": "stop"}, ""),
        (400, {"action": "freeze", "instant": "yesterday"}, "instant"),
        (400, {"action": "freeze", "instant": "2025-12-10T14:30:00"}, "instant"),
        (400, {"action": "freeze", "instant": "now"}, "instant"),
        (400, {"action": "freeze", "by": "PT1H"}, "by"),
        (400, {"action": "advance"}, "by"),
        (400, {"action": "advance", "by": "1h"}, "by"),
        (400, {"action": "advance", "by": "P"}, "by"),
        (400, {"action": "advance", "by": "P1M"}, "by"),
        (400, {"action": "advance", "by": "-PT1H"}, "by"),
        (400, {"action": "advance", "by": 3600}, "by"),
        (400, {"action": "reset", "instant": NOON}, "instant"),
        (400, [], ""),
        (409, {"action": "advance", "by": "P999999W"}, "by"),
    ],
)
def test_what_no_clock_can_do_is_refused(team: Team, status: int, body: Any, field: str) -> None:
    before = team.call("GET", "/clock")
    problem = team.refused(status, "PUT", "/clock", body)
    assert field in [error["field"] for error in problem["errors"]]
    assert team.call("GET", "/clock") == before


@pytest.mark.parametrize("frozen", [True, False])
def test_advances_that_add_up_to_the_end_of_the_years_are_refused_and_change_nothing(team: Team, frozen: bool) -> None:
    """A rule's healing and the windows of limits run on real time plus all advances, wherever the clock is."""
    for _ in range(2):
        team.call("PUT", "/clock", {"action": "reset"})
        if frozen:
            team.freeze("2025-12-10T14:30:00Z")
        team.advance("P999999D")
    team.call("PUT", "/clock", {"action": "reset"})
    before = team.call("GET", "")
    problem = team.refused(409, "PUT", "/clock", {"action": "advance", "by": "P999999D"})
    assert problem["errors"] == [{"field": "by", "message": "a clock shows the years 100 to 9899"}]
    assert team.call("GET", "") == before
    team.call("POST", "/faults", {"status": 429, "timeToLive": 31_536_000})
    assert team.get().status_code == 429
    assert team.get("overview?period=year").status_code == 429


def test_everything_works_at_both_ends_of_a_clocks_years(control: Control) -> None:
    for year in (100, 9899):
        answers = {"agents": [{"name": "A", "ticketsResolved": 2, "avgResponseTime": 5_000_000}]}
        team = control.team(clock=f"{year:04}-01-01T00:00:00Z", answers=answers)
        team.call("POST", "/faults", {"status": 429, "timeToLive": 31_536_000, "match": {"endpoint": "whoami"}})
        team.call("POST", "/keys", {"expiresAt": "+5000w"})
        assert team.data("overview?period=year")["tickets"]["open"] == 0
        assert team.data("agents")[0]["avgResponseTime"] == 5_000_000
        for path in ("/clock", "/explain/overview?period=year", "/keys", "/faults", "/tickets"):
            team.call("GET", path)
