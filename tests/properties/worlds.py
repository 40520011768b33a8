"""Random rows that crowd around every edge: of windows, of now, of ties, of memberships."""

from typing import Any

from hypothesis import strategies as st
from tests.properties.oracle import DAY, PERIODS, World

from cstar_mock.rows import Rows

NOW = 1_765_377_000 * 1_000_000
"""2025-12-10T14:30:00Z."""

_edges = sorted({NOW, *(NOW - length for length in PERIODS.values())})
instants = st.one_of(
    st.sampled_from([edge + off for edge in _edges for off in (-1, 0, 1)]),
    st.integers(NOW - 400 * DAY, NOW + 2 * DAY),
)
_STATUSES = ("new", "open", "pending", "resolved", "closed")
_MOST = 5


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw the rows of one environment; they keep the schema's rules, and no others."""
    members = []
    for index in range(draw(st.integers(0, 3))):
        joined = draw(instants)
        removed = draw(st.none() | _not_before(joined))
        members.append(
            {
                "id": f"usr_{draw(st.permutations('abc'))[0]}{index}",
                "name": draw(st.sampled_from(("Jane", "Ömer", "jane"))),
                "created_at": joined,
                "removed_at": removed,
            }
        )
    customers = [
        {"id": f"cus_{index}", "name": "C", "created_at": draw(instants)} for index in range(draw(st.integers(0, 3)))
    ]
    tickets = []
    for index in range(draw(st.integers(0, _MOST)) if customers else 0):
        created = draw(instants)
        status = draw(st.sampled_from(_STATUSES))
        tickets.append(
            {
                "id": f"tkt_{index}",
                "customer_id": draw(st.sampled_from(customers))["id"],
                "assignee_id": draw(st.sampled_from([None, *(member["id"] for member in members)])),
                "status": status,
                "created_at": created,
                "first_response_at": draw(st.none() | _after(created)),
                "resolved_at": _resolution(draw, status, created),
            }
        )
    responses = [
        {
            "id": f"csat_{ticket['id']}",
            "ticket_id": ticket["id"],
            "score": draw(st.integers(1, 5)),
            "submitted_at": draw(_after(ticket["created_at"])),
        }
        for ticket in tickets
        if draw(st.booleans())
    ]
    return World(members, customers, tickets, responses)


def rows(world: World) -> Rows:
    """Return a world's rows as they are inserted."""
    return Rows(world.members, world.customers, world.tickets, world.csat_responses)


def _not_before(earliest: int) -> st.SearchStrategy[int]:
    return instants.map(lambda instant: max(instant, earliest))


def _after(created: int) -> st.SearchStrategy[int]:
    return st.one_of(
        _not_before(created),
        # Minutes whose mean lies on the edge of rounding.
        st.integers(0, 40).map(lambda threes: created + threes * 3_000_000),
    )


def _resolution(draw: st.DrawFn, status: str, created: int) -> Any:
    if status in {"new", "open", "pending"}:
        return None
    return draw(_after(created) if status == "resolved" else st.none() | _after(created))
