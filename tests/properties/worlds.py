"""Random rows that crowd around every edge: of windows, of now, of ties, of memberships."""

from typing import Any

from hypothesis import strategies as st
from tests.properties.oracle import DAY, PERIODS, World

from cstar_mock.store.rows import Rows

NOW = 1_765_377_000 * 1_000_000
"""2025-12-10T14:30:00Z."""

_edges = sorted({NOW, *(NOW - length for length in PERIODS.values())})
instants = st.one_of(
    st.sampled_from([edge + off for edge in _edges for off in (-1, 0, 1)]),
    st.integers(NOW - 400 * DAY, NOW + 2 * DAY),
)

# Made once, as functions of what they follow: to make strategies while drawing takes longer than all the rest.
_not_before = instants.map(lambda instant: lambda earliest: max(instant, earliest))
_after = st.one_of(
    _not_before,
    # Minutes whose mean lies on the edge of rounding.
    st.integers(0, 40).map(lambda threes: lambda created: created + threes * 3_000_000),
)
_never: st.SearchStrategy[Any] = st.just(lambda _instant: None)
_perhaps_not_before = _never | _not_before
_perhaps_after = _never | _after
_resolutions = {
    "new": _never,
    "open": _never,
    "pending": _never,
    "resolved": _after,
    "closed": _perhaps_after,
}
_statuses = st.sampled_from(list(_resolutions))
_few = st.integers(0, 3)
_letters = st.sampled_from("abc")
_names = st.sampled_from(("Jane", "Ömer", "jane"))
_numbers_of_tickets = st.integers(0, 5)
_ordinals = st.integers(0, 11)  # a multiple of each number of customers and assignees
_scores = st.integers(1, 5)
_are_scored = st.booleans()


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw the rows of one environment; they keep the schema's rules, and no others."""
    members = []
    for index in range(draw(_few)):
        joined = draw(instants)
        removed = draw(_perhaps_not_before)(joined)
        members.append(
            {
                "id": f"usr_{draw(_letters)}{index}",
                "name": draw(_names),
                "created_at": joined,
                "removed_at": removed,
            }
        )
    customers = [{"id": f"cus_{index}", "name": "C", "created_at": draw(instants)} for index in range(draw(_few))]
    assignees = [None, *(member["id"] for member in members)]
    tickets = []
    for index in range(draw(_numbers_of_tickets) if customers else 0):
        created = draw(instants)
        status = draw(_statuses)
        tickets.append(
            {
                "id": f"tkt_{index}",
                "customer_id": customers[draw(_ordinals) % len(customers)]["id"],
                "assignee_id": assignees[draw(_ordinals) % len(assignees)],
                "status": status,
                "created_at": created,
                "first_response_at": draw(_perhaps_after)(created),
                "resolved_at": draw(_resolutions[status])(created),
            }
        )
    responses = [
        {
            "id": f"csat_{ticket['id']}",
            "ticket_id": ticket["id"],
            "score": draw(_scores),
            "submitted_at": draw(_after)(ticket["created_at"]),
        }
        for ticket in tickets
        if draw(_are_scored)
    ]
    return World(members, customers, tickets, responses)


def rows(world: World) -> Rows:
    """Return a world's rows as they are inserted."""
    return Rows(world.members, world.customers, world.tickets, world.csat_responses)
