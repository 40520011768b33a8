"""Answers to rows: contradictory figures are named, and responses of agents that have no room come from before."""

from typing import Any

import pytest

from cstar_mock.contract.clock import DAY, parse_instant
from cstar_mock.datasets.answers import build
from cstar_mock.datasets.format import Answers
from cstar_mock.datasets.problems import DatasetError

NOW = parse_instant("2025-12-10T14:30:00Z")


@pytest.mark.parametrize(
    ("answers", "where", "rule"),
    [
        ({"overview": {"customers": {"total": 5, "active": 6}}}, "overview.customers.active", "more than the 5"),
        ({"overview": {"customers": {"total": 5, "new": 6}}}, "overview.customers.new", "more than the 5"),
        (
            {"overview": {"tickets": {"total": 3}, "customers": {"active": 4}}},
            "overview.customers.active",
            "each active one created at least one",
        ),
        (
            {"overview": {"tickets": {"total": 3}, "customers": {"active": 0}}},
            "overview.customers.active",
            "at least 1",
        ),
        (
            {"overview": {"tickets": {"open": 1}, "customers": {"total": 0}}},
            "overview.customers.total",
            "at least one customer",
        ),
        (
            {"overview": {"csat": {"average": 4.2, "totalResponses": 1}}},
            "overview.csat.average",
            "can't have a mean",
        ),
        ({"overview": {"csat": {"average": 4.2, "totalResponses": 0}}}, "overview.csat.average", "no response"),
        (
            {"overview": {"csat": {"average": None, "totalResponses": 3}}},
            "overview.csat.average",
            "3 responses have a mean",
        ),
        ({"agents": [{"userId": "usr_a", "name": "A"}] * 2}, "agents[1].userId", "repeated"),
        (
            {"agents": [{"name": name, "ticketsResolved": 60_000} for name in "AB"]},
            "agents",
            "at most 100,000 tickets",
        ),
    ],
)
def test_contradictions_are_named(answers: dict[str, Any], where: str, rule: str) -> None:
    with pytest.raises(DatasetError) as refused:
        build(Answers.model_validate(answers), NOW)
    assert str(refused.value).startswith(where)
    assert rule in str(refused.value)


def test_responses_of_agents_without_room_in_the_window_are_from_before_it() -> None:
    """The overview has three responses with the mean 1.0, and the agent's mean is 5.0: the agent's are older."""
    overview = {"period": "day", "csat": {"average": 1.0, "totalResponses": 3}}
    agents = [{"name": "A", "ticketsResolved": 1, "csatAverage": 5.0}]
    rows = build(Answers.model_validate({"overview": overview, "agents": agents}), NOW)
    scores = [(row["score"], row["submitted_at"] > NOW - DAY) for row in rows.csat_responses]
    assert sorted(scores) == [(1, True), (1, True), (1, True), (5, False)]
