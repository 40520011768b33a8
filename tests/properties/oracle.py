"""The figures by their definitions, in plain Python, from lists of rows.

Written from the contract, not from the SQL, and sharing no code with it: only where both agree can a figure be
trusted.
"""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

SECOND = 1_000_000
DAY = 24 * 3600 * SECOND
PERIODS = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "quarter": 90 * DAY, "year": 365 * DAY}


@dataclass
class World:
    """The rows of one environment of one team, as dictionaries by column name."""

    members: list[dict[str, Any]] = field(default_factory=list)
    customers: list[dict[str, Any]] = field(default_factory=list)
    tickets: list[dict[str, Any]] = field(default_factory=list)
    csat_responses: list[dict[str, Any]] = field(default_factory=list)


def overview(world: World, period: str, now: int) -> dict[str, Any]:
    """Return what the overview must answer."""
    start = now - PERIODS[period]

    def in_window(instant: int | None) -> bool:
        return instant is not None and start < instant <= now

    existing = [ticket for ticket in world.tickets if ticket["created_at"] <= now]
    created = [ticket for ticket in existing if ticket["created_at"] > start]
    scores = [row["score"] for row in world.csat_responses if in_window(row["submitted_at"])]
    return {
        "object": "analytics_overview",
        "period": period,
        "tickets": {
            "total": len(created),
            "open": sum(1 for ticket in existing if _is_open(ticket, now)),
            "resolved": sum(
                1
                for ticket in existing
                if in_window(ticket["resolved_at"]) and ticket["status"] in {"resolved", "closed"}
            ),
        },
        "customers": {
            "total": sum(1 for customer in world.customers if customer["created_at"] <= now),
            "active": len({ticket["customer_id"] for ticket in created}),
            "new": sum(1 for customer in world.customers if in_window(customer["created_at"])),
        },
        "csat": {"average": _mean(scores), "totalResponses": len(scores)},
    }


def agents(world: World, now: int) -> list[dict[str, Any]]:
    """Return what the agents endpoint must answer."""
    stats = []
    assignees = {ticket["id"]: ticket["assignee_id"] for ticket in world.tickets}
    for member in world.members:
        gone = member["removed_at"] is not None and member["removed_at"] <= now
        if gone or member["created_at"] > now:
            continue
        mine = [ticket for ticket in world.tickets if ticket["assignee_id"] == member["id"]]
        minutes = [
            Decimal(ticket["first_response_at"] - ticket["created_at"]) / (60 * SECOND)
            for ticket in mine
            if ticket["first_response_at"] is not None and ticket["first_response_at"] <= now
        ]
        scores = [
            response["score"]
            for response in world.csat_responses
            if response["submitted_at"] <= now and assignees[response["ticket_id"]] == member["id"]
        ]
        stats.append(
            {
                "object": "agent_stats",
                "userId": member["id"],
                "name": member["name"],
                "ticketsResolved": sum(
                    1 for ticket in mine if ticket["resolved_at"] is not None and ticket["resolved_at"] <= now
                ),
                "avgResponseTime": _mean(minutes),
                "csatAverage": _mean(scores),
            }
        )
    return sorted(stats, key=lambda agent: (-agent["ticketsResolved"], agent["name"], agent["userId"]))


def _is_open(ticket: dict[str, Any], now: int) -> bool:
    if ticket["status"] in {"new", "open", "pending"}:
        return True
    return ticket["resolved_at"] is not None and ticket["resolved_at"] > now


def _mean(values: list[Any]) -> float | None:
    if not values:
        return None
    # Far more digits than any sum here can have, so that only the last rounding rounds.
    exact = sum((Decimal(value) for value in values), Decimal()) / len(values)
    return float(exact.quantize(Decimal("0.1"), ROUND_HALF_UP))
