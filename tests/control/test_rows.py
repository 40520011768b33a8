"""Rows: each change shows in the very next figure, and what the domain forbids is refused with the reason."""

import re
from typing import Any

import pytest
from tests.control.conftest import Control, Team

from cstar_mock import bounds

KINDS = ("members", "customers", "tickets", "csat-responses")
NEW: dict[str, dict[str, Any]] = {
    "members": {"id": "usr_new", "name": "Jane"},
    "customers": {"id": "cus_new"},
    "tickets": {"id": "tkt_new", "customerId": "cus_1"},
    "csat-responses": {"id": "csat_new", "ticketId": "tkt_1", "score": 4},
}
SHOWN: dict[str, dict[str, Any]] = {
    "members": {"id": "usr_new", "name": "Jane", "createdAt": "2024-12-10T14:30:00Z", "removedAt": None},
    "customers": {"id": "cus_new", "name": "Customer", "createdAt": "2024-12-10T14:30:00Z"},
    "tickets": {
        "id": "tkt_new", "customerId": "cus_1", "assigneeId": None, "status": "new",
        "createdAt": "2025-12-10T14:30:00Z", "firstResponseAt": None, "resolvedAt": None,
    },
    "csat-responses": {"id": "csat_new", "ticketId": "tkt_1", "score": 4, "submittedAt": "2025-12-10T14:30:00Z"},
}  # fmt: skip
CHANGE: dict[str, dict[str, Any]] = {
    "members": {"name": "Janet"},
    "customers": {"createdAt": "2025-01-01T00:00:00Z"},
    "tickets": {"assigneeId": "usr_1"},
    "csat-responses": {"score": 1},
}


@pytest.fixture
def desk(team: Team) -> Team:
    """A team with a member, a customer, and three tickets of an hour ago."""
    team.call("POST", "/members", [{"id": "usr_1", "name": "Jane"}, {"id": "usr_2", "name": "Sam"}])
    team.call("POST", "/customers", [{"id": "cus_1"}, {"id": "cus_2", "createdAt": "-2d"}])
    team.call(
        "POST",
        "/tickets",
        [
            {"id": f"tkt_{number}", "customerId": "cus_1", "assigneeId": "usr_1", "createdAt": "-1h", "status": "open"}
            for number in (1, 2, 3)
        ],
    )
    return team


def tickets(team: Team) -> tuple[int, int, int]:
    """Return the three ticket figures."""
    figures = team.data()["tickets"]
    return figures["total"], figures["open"], figures["resolved"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_created_shown_changed_and_deleted(desk: Team, kind: str) -> None:
    path = f"/{kind}/{NEW[kind]['id']}"
    assert desk.call("POST", f"/{kind}", NEW[kind]) == SHOWN[kind]
    assert desk.call("GET", path) == SHOWN[kind]
    changed = {**SHOWN[kind], **CHANGE[kind]}
    assert desk.call("PATCH", path, CHANGE[kind]) == changed
    assert desk.call("GET", path) == changed
    assert desk.call("DELETE", path) is None
    for method, body in (("GET", None), ("PATCH", CHANGE[kind]), ("DELETE", None)):
        assert NEW[kind]["id"] in desk.refused(404, method, path, body)["detail"]


@pytest.mark.parametrize("kind", KINDS)
def test_many_rows_are_created_by_one_request_and_ids_are_made_where_none_is_given(desk: Team, kind: str) -> None:
    without_id = {name: value for name, value in NEW[kind].items() if name != "id"}
    second = {**without_id, "ticketId": "tkt_2"} if kind == "csat-responses" else without_id
    one, two = desk.call("POST", f"/{kind}", [without_id, second])
    assert one["id"] != two["id"]
    prefix = NEW[kind]["id"].removesuffix("new")
    assert one["id"].startswith(prefix)
    assert two["id"].startswith(prefix)
    assert [desk.call("GET", f"/{kind}/{row['id']}") for row in (one, two)] == [one, two]


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_with_one_bad_row_inserts_none_and_names_it(desk: Team, kind: str) -> None:
    before = desk.call("GET", f"/{kind}")
    bad = {**NEW[kind], "id": "taken"}
    desk.call("POST", f"/{kind}", bad)
    good = {**NEW[kind], "ticketId": "tkt_2"} if kind == "csat-responses" else NEW[kind]
    problem = desk.refused(409, "POST", f"/{kind}", [good, bad])
    assert ("[1].id", "the id 'taken' is taken already") in [
        (error["field"], error["message"]) for error in problem["errors"]
    ]
    assert desk.call("GET", f"/{kind}")["meta"]["total"] == before["meta"]["total"] + 1
    problem = desk.refused(409, "POST", f"/{kind}", [{**good, "id": "twice"}, {**good, "id": "twice"}])
    assert problem["errors"][0]["field"].startswith("[1].")


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_has_an_order_pages_and_a_total(desk: Team, kind: str) -> None:
    before = [row["id"] for row in desk.call("GET", f"/{kind}")["items"]]
    desk.call("POST", "/tickets", [{"id": f"t{number}", "customerId": "cus_1"} for number in range(5)])
    rows = [
        {**NEW[kind], "id": f"a{number}", **({"ticketId": f"t{number}"} if kind == "csat-responses" else {})}
        for number in (3, 1, 2, 0)
    ]
    desk.call("POST", f"/{kind}", rows)
    everything = desk.call("GET", f"/{kind}")
    ids = [row["id"] for row in everything["items"]]
    assert ids == sorted(ids)
    assert everything["meta"]["total"] == len(ids) >= len(before) + 4
    page = desk.call("GET", f"/{kind}", limit=2, offset=1)
    assert [row["id"] for row in page["items"]] == ids[1:3]
    assert page["meta"] == everything["meta"]
    assert desk.call("GET", f"/{kind}", offset=10_000)["items"] == []


def test_lists_are_filtered(desk: Team) -> None:
    desk.call("PATCH", "/tickets/tkt_2", {"status": "resolved", "assigneeId": "usr_2", "customerId": "cus_2"})
    desk.call("POST", "/csat-responses", [{"ticketId": "tkt_1", "score": 5}, {"ticketId": "tkt_2", "score": 1}])

    def ids(kind: str, column: str = "id", /, **equal: Any) -> list[str]:
        page = desk.call("GET", f"/{kind}", **equal)
        assert page["meta"]["total"] == len(page["items"])
        return [row[column] for row in page["items"]]

    assert ids("tickets", status="resolved") == ["tkt_2"]
    assert ids("tickets", customerId="cus_1") == ["tkt_1", "tkt_3"]
    assert ids("tickets", assigneeId="usr_1", status="open") == ["tkt_1", "tkt_3"]
    assert ids("tickets", status="pending") == []
    assert ids("members", name="Sam") == ["usr_2"]
    assert ids("customers", name="Nobody") == []
    assert ids("csat-responses", "ticketId", score=1) == ["tkt_2"]
    assert ids("csat-responses", "ticketId", ticketId="tkt_1") == ["tkt_1"]


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("tickets", {"state": "open"}),
        ("tickets", {"status": "opened"}),
        ("tickets", {"customer_id": "cus_1"}),
        ("tickets", {"limit": 0}),
        ("tickets", {"limit": 1001}),
        ("tickets", {"offset": -1}),
        ("tickets", {"environment": "staging"}),
        ("csat-responses", {"score": 6}),
        ("csat-responses", {"score": "x"}),
        ("members", {"status": "open"}),
    ],
)
def test_queries_that_are_not_known_or_not_allowed_are_refused(desk: Team, kind: str, query: dict[str, Any]) -> None:
    (name,) = query
    assert name in str(desk.refused(400, "GET", f"/{kind}", **query)["errors"])


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/members", {"id": "usr_9"}, "name"),
        ("POST", "/members", {"name": ""}, "name"),
        ("POST", "/members", {"name": "x" * 201}, "name"),
        ("POST", "/members", {"name": "Jane", "role": "boss"}, "role"),
        ("POST", "/members", {"name": "Jane", "id": "no id"}, "id"),
        ("POST", "/customers", {"createdAt": "yesterday"}, "createdAt"),
        ("POST", "/customers", {"createdAt": "2025-12-10T14:30:00"}, "createdAt"),
        ("POST", "/customers", {"created_at": "now"}, "created_at"),
        ("POST", "/customers", [], "at least 1 item"),
        ("POST", "/customers", [{}, {"colour": 1}], "[1].colour"),
        ("POST", "/customers", "text", ""),
        ("POST", "/tickets", {"customerId": "cus_1", "status": "done"}, "status"),
        ("POST", "/tickets", {}, "customerId"),
        ("POST", "/csat-responses", {"ticketId": "tkt_1", "score": 6}, "score"),
        ("POST", "/csat-responses", {"ticketId": "tkt_1", "score": 4.5}, "score"),
        ("POST", "/csat-responses", {"ticketId": "tkt_1", "score": "4"}, "score"),
        ("PATCH", "/members/usr_1", {}, ""),
        ("PATCH", "/members/usr_1", {"id": "usr_9"}, "id"),
        ("PATCH", "/members/usr_1", {"name": None}, "name"),
        ("PATCH", "/customers/cus_1", {"createdAt": None}, "createdAt"),
        ("PATCH", "/tickets/tkt_1", {"customerId": None}, "customerId"),
        ("PATCH", "/tickets/tkt_1", {"status": None}, "status"),
        ("PATCH", "/csat-responses/csat_1", {"ticketId": "tkt_2"}, "ticketId"),
        ("PATCH", "/csat-responses/csat_1", {"score": 0}, "score"),
    ],
)
def test_bodies_that_are_no_rows_are_refused(desk: Team, method: str, path: str, body: Any, field: str) -> None:
    # An empty change is well-formed, but changes nothing.
    problem = desk.refused(409 if body == {} and method == "PATCH" else 400, method, path, body)
    assert field in str(problem), problem
    assert not re.search(r"\b(New|Member|Customer|Ticket|Csat)\w*(Row|Change|Ticket|Response)?\b[.:]", str(problem))
    assert tickets(desk) == (3, 3, 0)


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "reason"),
    [
        ("POST", "/tickets", {"customerId": "cus_9"}, "[0].customerId", "no customer has the id 'cus_9'"),
        ("POST", "/tickets", {"customerId": "cus_1", "assigneeId": "usr_9"}, "[0].assigneeId",
         "no member has the id 'usr_9'"),
        ("POST", "/tickets", {"customerId": "cus_1", "firstResponseAt": "-1s"}, "[0].firstResponseAt",
         "can't be before the ticket's creation"),
        ("POST", "/tickets", {"customerId": "cus_1", "status": "resolved", "resolvedAt": "-1s"}, "[0].resolvedAt",
         "can't be resolved before its creation"),
        ("POST", "/tickets", {"customerId": "cus_1", "status": "resolved", "createdAt": "+1h"}, "[0].resolvedAt",
         "can't be resolved before its creation"),
        ("POST", "/tickets", {"customerId": "cus_1", "status": "open", "resolvedAt": "+1s"}, "[0].resolvedAt",
         "reopening clears it"),
        ("POST", "/tickets", {"customerId": "cus_1", "id": "tkt_1"}, "[0].id", "is taken"),
        ("POST", "/tickets", {"customerId": "cus_1", "createdAt": "-999999999w"}, "createdAt", "years 1 to 9999"),
        ("POST", "/members", {"name": "Jane", "removedAt": "-366d"}, "[0].removedAt", "before joining"),
        ("POST", "/csat-responses", {"ticketId": "tkt_9", "score": 3}, "[0].ticketId", "no ticket has the id 'tkt_9'"),
        ("POST", "/csat-responses", {"ticketId": "tkt_2", "score": 3, "submittedAt": "-2h"}, "[0].submittedAt",
         "before its ticket's creation"),
        ("POST", "/csat-responses", {"ticketId": "tkt_1", "score": 3}, "[0].ticketId", "has a response already"),
        ("POST", "/csat-responses", [{"ticketId": "tkt_2", "score": 3}] * 2, "[1].ticketId", "has a response already"),
        ("PATCH", "/tickets/tkt_1", {"customerId": "cus_9"}, "[0].customerId", "no customer"),
        ("PATCH", "/tickets/tkt_1", {"assigneeId": "usr_9"}, "[0].assigneeId", "no member"),
        ("PATCH", "/tickets/tkt_1", {"resolvedAt": "-1m"}, "[0].resolvedAt", "reopening clears it"),
        ("PATCH", "/tickets/tkt_1", {"status": "resolved", "resolvedAt": "-2h"}, "[0].resolvedAt", "before"),
        ("PATCH", "/tickets/tkt_1", {"createdAt": "now"}, "[0].createdAt", "after its CSAT response"),
        ("PATCH", "/tickets/tkt_3", {"createdAt": "-29m"}, "[0].firstResponseAt", "before the ticket's creation"),
        ("PATCH", "/csat-responses/csat_1", {"submittedAt": "-2h"}, "[0].submittedAt", "before its ticket's creation"),
        ("PATCH", "/members/usr_1", {"removedAt": "-400d"}, "[0].removedAt", "before joining"),
        ("PATCH", "/members/usr_1", {"createdAt": "-1s", "removedAt": "-2s"}, "[0].removedAt", "before joining"),
        ("DELETE", "/customers/cus_1", None, "[0].id", "3 tickets refer to 'cus_1'"),
        ("DELETE", "/members/usr_1", None, "[0].id", "set removedAt to end a membership"),
    ],
)  # fmt: skip
def test_what_the_domain_forbids_is_refused_with_the_reason(
    desk: Team, method: str, path: str, body: Any, field: str, reason: str
) -> None:
    desk.call("POST", "/csat-responses", {"id": "csat_1", "ticketId": "tkt_1", "score": 5, "submittedAt": "-30m"})
    desk.call("PATCH", "/tickets/tkt_3", {"firstResponseAt": "-30m"})
    before = [desk.call("GET", f"/{kind}") for kind in KINDS], desk.data(), desk.data("agents")
    status = 400 if "-999999999w" in str(body) else 409
    problem = desk.refused(status, method, path, body)
    assert reason in problem["detail"]
    assert field in [error["field"] for error in problem["errors"]]
    assert ([desk.call("GET", f"/{kind}") for kind in KINDS], desk.data(), desk.data("agents")) == before


def test_a_list_is_not_told_to_be_an_object(desk: Team) -> None:
    problem = desk.refused(400, "POST", "/tickets", [{"customerId": "cus_1"}, {"customerId": "c", "createdAt": "x"}])
    assert [error["field"] for error in problem["errors"]] == ["[1].createdAt"]
    assert problem["detail"].startswith("[1].createdAt: ")
    assert desk.refused(400, "POST", "/tickets", "text")["detail"] == "must be an object"


def test_every_bad_row_of_a_list_is_named(desk: Team) -> None:
    rows = [{"customerId": "cus_9"}, {"customerId": "cus_1"}, {"customerId": "cus_1", "assigneeId": "usr_9"}]
    problem = desk.refused(409, "POST", "/tickets", rows)
    assert [error["field"] for error in problem["errors"]] == ["[0].customerId", "[2].assigneeId"]


def test_a_moment_relative_to_a_clock_at_the_end_of_the_years_is_refused(team: Team) -> None:
    team.freeze("9899-12-31T23:59:00Z")
    problem = team.refused(409, "POST", "/customers", {"createdAt": "+36600d"})
    assert problem["errors"][0]["field"] == "createdAt"


def test_the_ticket_figures_follow_each_change(desk: Team) -> None:
    assert tickets(desk) == (3, 3, 0)
    desk.call("POST", "/tickets", {"id": "tkt_4", "customerId": "cus_2"})
    assert tickets(desk) == (4, 4, 0)
    assert desk.call("PATCH", "/tickets/tkt_4", {"status": "resolved"})["resolvedAt"] == "2025-12-10T14:30:00Z"
    assert tickets(desk) == (4, 3, 1)
    assert desk.call("PATCH", "/tickets/tkt_4", {"status": "closed"})["resolvedAt"] == "2025-12-10T14:30:00Z"
    assert tickets(desk) == (4, 3, 1)
    assert desk.call("PATCH", "/tickets/tkt_4", {"status": "open"})["resolvedAt"] is None
    assert tickets(desk) == (4, 4, 0)
    assert desk.call("PATCH", "/tickets/tkt_4", {"status": "closed"})["resolvedAt"] is None
    assert tickets(desk) == (4, 3, 0)
    desk.call("PATCH", "/tickets/tkt_3", {"createdAt": "-8d"})
    assert tickets(desk) == (3, 3, 0)
    desk.call("DELETE", "/tickets/tkt_1")
    assert tickets(desk) == (2, 2, 0)


def test_a_ticket_resolved_later_than_now_is_still_open(desk: Team) -> None:
    desk.call("PATCH", "/tickets/tkt_1", {"status": "resolved", "resolvedAt": "+1h"})
    assert tickets(desk) == (3, 3, 0)
    desk.advance("PT1H")
    assert tickets(desk) == (3, 2, 1)


def test_the_customer_figures_follow_each_change(desk: Team) -> None:
    assert desk.data()["customers"] == {"total": 2, "active": 1, "new": 1}
    desk.call("POST", "/customers", {"id": "cus_3", "createdAt": "now"})
    assert desk.data()["customers"] == {"total": 3, "active": 1, "new": 2}
    desk.call("PATCH", "/tickets/tkt_1", {"customerId": "cus_3"})
    assert desk.data()["customers"] == {"total": 3, "active": 2, "new": 2}
    desk.call("PATCH", "/customers/cus_3", {"createdAt": "-8d"})
    assert desk.data()["customers"] == {"total": 3, "active": 2, "new": 1}
    desk.call("DELETE", "/customers/cus_2")
    assert desk.data()["customers"] == {"total": 2, "active": 2, "new": 0}


def test_the_csat_figures_follow_each_change(desk: Team) -> None:
    assert desk.data()["csat"] == {"average": None, "totalResponses": 0}
    desk.call("POST", "/csat-responses", [{"id": f"r{n}", "ticketId": f"tkt_{n}", "score": n + 2} for n in (1, 2)])
    assert desk.data()["csat"] == {"average": 3.5, "totalResponses": 2}
    desk.call("PATCH", "/csat-responses/r1", {"score": 5})
    assert desk.data()["csat"] == {"average": 4.5, "totalResponses": 2}
    desk.call("PATCH", "/csat-responses/r2", {"submittedAt": "+1s"})
    assert desk.data()["csat"] == {"average": 5.0, "totalResponses": 1}
    desk.call("DELETE", "/tickets/tkt_1")
    assert desk.data()["csat"] == {"average": None, "totalResponses": 0}
    assert desk.call("GET", "/csat-responses")["meta"]["total"] == 1


def test_the_agents_follow_each_change(desk: Team) -> None:
    def agents() -> list[tuple[Any, ...]]:
        return [tuple(agent.values())[1:] for agent in desk.data("agents")]

    assert agents() == [("usr_1", "Jane", 0, None, None), ("usr_2", "Sam", 0, None, None)]
    desk.call("PATCH", "/tickets/tkt_1", {"status": "resolved", "firstResponseAt": "-45m", "assigneeId": "usr_2"})
    assert agents() == [("usr_2", "Sam", 1, 15.0, None), ("usr_1", "Jane", 0, None, None)]
    desk.call("POST", "/csat-responses", {"ticketId": "tkt_1", "score": 2})
    assert agents()[0] == ("usr_2", "Sam", 1, 15.0, 2.0)
    desk.call("PATCH", "/tickets/tkt_1", {"assigneeId": None})
    assert agents() == [("usr_1", "Jane", 0, None, None), ("usr_2", "Sam", 0, None, None)]
    desk.call("PATCH", "/members/usr_1", {"removedAt": "now"})
    assert agents() == [("usr_2", "Sam", 0, None, None)]
    desk.call("PATCH", "/members/usr_1", {"removedAt": None, "name": "Zoe"})
    assert [agent[1] for agent in agents()] == ["Sam", "Zoe"]
    desk.call("DELETE", "/members/usr_2")
    assert [agent[1] for agent in agents()] == ["Zoe"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_environments_are_apart(desk: Team, kind: str) -> None:
    desk.call("POST", "/customers", {"id": "cus_1"}, environment="live")
    desk.call("POST", "/tickets", {"id": "tkt_1", "customerId": "cus_1"}, environment="live")
    figures = desk.data()
    before = desk.call("GET", f"/{kind}")
    path = f"/{kind}/{NEW[kind]['id']}"
    desk.call("POST", f"/{kind}", NEW[kind], environment="live")
    assert desk.call("GET", path, environment="live") == SHOWN[kind]
    desk.refused(404, "GET", path)
    desk.refused(404, "PATCH", path, CHANGE[kind])
    desk.refused(404, "DELETE", path, environment="test")
    assert desk.call("GET", f"/{kind}") == before
    assert desk.data() == figures
    assert desk.call("POST", f"/{kind}", NEW[kind]) == SHOWN[kind]
    desk.call("DELETE", path)
    assert desk.call("GET", path, environment="live") == SHOWN[kind]


def test_references_reach_no_other_environment(control: Control) -> None:
    team = control.team()
    team.call("POST", "/customers", {"id": "cus_1"}, environment="live")
    team.refused(409, "POST", "/tickets", {"customerId": "cus_1"}, environment="test")


def test_thousands_of_rows_are_created_by_one_request(team: Team) -> None:
    team.call("POST", "/customers", [{"id": f"cus_{number}"} for number in range(3000)])
    rows = [{"customerId": f"cus_{number}", "status": "resolved"} for number in range(3000)]
    assert len(team.call("POST", "/tickets", rows)) == 3000
    assert tickets(team) == (3000, 0, 3000)
    team.refused(400, "POST", "/customers", [{}] * 10_001)


def test_one_request_creates_ten_thousand_rows_at_most(desk: Team) -> None:
    one = {"name": "x"}
    desk.call("POST", "/customers", [one] * bounds.MOST_ROWS_IN_REQUEST)
    desk.refused(400, "POST", "/customers", [one] * (bounds.MOST_ROWS_IN_REQUEST + 1))
