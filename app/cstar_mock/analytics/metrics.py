"""The meaning of each figure, as SQL: the rows that it counts (contract §5).

A metric is a table and the conditions that make a row count. The statements of `service` are put together from
them once, at import; rows stamped after `now` fail every condition, so they do not exist yet for any figure.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, literal_column, or_

from cstar_mock.contract.vocabulary import OPEN_STATUSES
from cstar_mock.store.models import Base, CsatResponse, Customer, Member, Ticket

START: ColumnElement[int] = bindparam("start", type_=BigInteger)
NOW: ColumnElement[int] = bindparam("now", type_=BigInteger)


# Part of the statement's text: as parameters, they would make SQLAlchemy compile the text for each request.
_OPEN: list[ColumnElement[str]] = [literal_column(repr(status.value)) for status in OPEN_STATUSES]


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        name: the figure's path in the answer.
        definition: its meaning, in a sentence.
        rows: the table whose rows it counts.
        condition: what makes a row of the scope count.
        source: `doc`, `site` or `ours`, as in the contract.
    """

    name: str
    definition: str
    rows: type[Base]
    condition: ColumnElement[bool]
    source: str


def _in_window(instant: Any) -> ColumnElement[bool]:
    return and_(instant > START, instant <= NOW)


TICKETS_TOTAL = Metric("tickets.total", "Tickets created in the window.", Ticket, _in_window(Ticket.created_at), "doc")
TICKETS_OPEN = Metric(
    "tickets.open",
    "Tickets that exist and are new, open or pending now, or will be resolved only after now.",
    Ticket,
    # Each side of the OR names the creation, so that an index serves each.
    or_(
        and_(Ticket.status.in_(_OPEN), Ticket.created_at <= NOW),
        and_(Ticket.resolved_at > NOW, Ticket.created_at <= NOW),
    ),
    "doc; the statuses ours",
)
TICKETS_RESOLVED = Metric(
    "tickets.resolved",
    "Tickets resolved in the window and not reopened since: reopening clears the instant.",
    Ticket,
    _in_window(Ticket.resolved_at),
    "doc; reopening ours",
)
CUSTOMERS_TOTAL = Metric("customers.total", "Customers created up to now.", Customer, Customer.created_at <= NOW, "doc")
CUSTOMERS_ACTIVE = Metric(
    "customers.active",
    "Distinct customers of the tickets created in the window.",
    Ticket,
    _in_window(Ticket.created_at),
    "ours",
)
CUSTOMERS_NEW = Metric(
    "customers.new", "Customers created in the window.", Customer, _in_window(Customer.created_at), "ours"
)
CSAT_RESPONSES = Metric(
    "csat.totalResponses",
    "CSAT responses submitted in the window.",
    CsatResponse,
    _in_window(CsatResponse.submitted_at),
    "doc",
)

CSAT_AVERAGE = Metric(
    "csat.average",
    "Mean score of the CSAT responses submitted in the window, rounded half up to one decimal.",
    CsatResponse,
    CSAT_RESPONSES.condition,
    "doc; the rounding ours",
)

TICKET_OF_RESPONSE = and_(
    Ticket.team_id == CsatResponse.team_id,
    Ticket.environment == CsatResponse.environment,
    Ticket.id == CsatResponse.ticket_id,
)
"""The join of a response to its ticket."""

CURRENT_MEMBERS = and_(Member.created_at <= NOW, or_(Member.removed_at.is_(None), Member.removed_at > NOW))
"""The members that the agents endpoint lists [ours]."""

AGENT_RESOLVED = Metric(
    "ticketsResolved",
    "Tickets assigned to the member and resolved up to now.",
    Ticket,
    Ticket.resolved_at <= NOW,
    "doc; over all time ours",
)
AGENT_ANSWERED = Metric(
    "avgResponseTime",
    "Tickets assigned to the member whose first response was given up to now; the mean is in minutes.",
    Ticket,
    Ticket.first_response_at <= NOW,
    "doc; the unit ours",
)
AGENT_RESPONSES = Metric(
    "csatAverage",
    "CSAT responses submitted up to now to tickets that are assigned to the member.",
    CsatResponse,
    CsatResponse.submitted_at <= NOW,
    "doc",
)
