"""Rows on their way into the store: their rules in words, and one way to insert many.

The schema's constraints hold these rules too; here they are said so that a person can mend the row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, bindparam, insert

from cstar_mock.clock import Instant
from cstar_mock.models import CsatResponse, Customer, Member, Ticket, TicketStatus

Row: TypeAlias = dict[str, Any]
"""A row by its column names, without team and environment."""

_NEVER_RESOLVED = (TicketStatus.NEW, TicketStatus.OPEN, TicketStatus.PENDING)


@dataclass(slots=True)
class Rows:
    """Rows of one environment of one team, in the order in which they can be inserted."""

    members: list[Row] = field(default_factory=list)
    customers: list[Row] = field(default_factory=list)
    tickets: list[Row] = field(default_factory=list)
    csat_responses: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.members) + len(self.customers) + len(self.tickets) + len(self.csat_responses)


def ticket(
    id_: str,
    customer_id: str,
    created_at: Instant,
    *,
    assignee_id: str | None = None,
    status: TicketStatus = TicketStatus.OPEN,
    first_response_at: Instant | None = None,
    resolved_at: Instant | None = None,
) -> Row:
    """Return a ticket's row."""
    return {
        "id": id_,
        "customer_id": customer_id,
        "assignee_id": assignee_id,
        "status": status.value,
        "created_at": created_at,
        "first_response_at": first_response_at,
        "resolved_at": resolved_at,
    }


def ticket_problems(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what makes no sense about a ticket, as (column, sentence)."""
    status, created, resolved = row["status"], row["created_at"], row["resolved_at"]
    if row["first_response_at"] is not None and row["first_response_at"] < created:
        yield "first_response_at", "the first response can't be before the ticket's creation"
    if resolved is not None and resolved < created:
        yield "resolved_at", "a ticket can't be resolved before its creation"
    if status == TicketStatus.RESOLVED and resolved is None:
        yield "resolved_at", "a resolved ticket needs the instant of its resolution"
    if resolved is not None and status in _NEVER_RESOLVED:
        yield "resolved_at", f"a ticket with status {status} has no resolution: reopening clears it"


def insert_rows(connection: Connection, team_id: str, environment: str, rows: Rows) -> None:
    """Insert the rows into one environment of one team."""
    for model, batch in (
        (Member, rows.members),
        (Customer, rows.customers),
        (Ticket, rows.tickets),
        (CsatResponse, rows.csat_responses),
    ):
        if batch:
            statement = insert(model).values(team_id=bindparam(None, team_id), environment=bindparam(None, environment))
            connection.execute(statement, batch)
