"""The bodies and answers of the routes of rows, and the four kinds of rows."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.alias_generators import to_camel

from cstar_mock.contract import ids
from cstar_mock.contract.json_types import WHOLE, Text
from cstar_mock.contract.vocabulary import Environment, TicketStatus
from cstar_mock.control.dependencies import Answer, Body
from cstar_mock.datasets.format import CsatResponseRow, CustomerRow, Id, MemberRow, Moment, Name, TicketRow
from cstar_mock.store.models import CsatResponse, Customer, Member, Ticket


def _only_what_is_named(schema: dict[str, Any]) -> None:
    """Describe a change: at least one field, and no default for the others, which stay as they are."""
    schema["minProperties"] = 1
    for field in schema["properties"].values():
        field.pop("default", None)


class _Change(Body):
    model_config = ConfigDict(json_schema_extra=_only_what_is_named)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class MemberChange(_Change):
    """A change of a member; `removedAt` ends the membership."""

    name: Name = ""
    created_at: Moment = ""
    removed_at: Moment | None = None


class CustomerChange(_Change):
    """A change of a customer."""

    name: Name = ""
    created_at: Moment = ""


class NewTicket(TicketRow):
    """A ticket; by default it is new, and created now."""

    status: TicketStatus = TicketStatus.NEW
    created_at: Moment = "now"


class TicketChange(_Change):
    """A change of a ticket.

    Resolving it without an instant resolves it now; reopening it clears the instant.
    """

    customer_id: Id = ""
    assignee_id: Id | None = None
    status: TicketStatus = TicketStatus.NEW
    created_at: Moment = ""
    first_response_at: Moment | None = None
    resolved_at: Moment | None = None


class NewCsatResponse(CsatResponseRow):
    """A customer's score for a ticket; by default it is submitted now."""

    submitted_at: Moment = "now"


class CsatResponseChange(_Change):
    """A change of a CSAT response."""

    score: Annotated[int, Field(ge=1, le=5), WHOLE] = 1
    submitted_at: Moment = ""


class MemberShown(Answer):
    """A member as it is in the store."""

    id: str
    name: str
    created_at: str
    removed_at: str | None


class CustomerShown(Answer):
    """A customer as it is in the store."""

    id: str
    name: str
    created_at: str


class TicketShown(Answer):
    """A ticket as it is in the store."""

    id: str
    customer_id: str
    assignee_id: str | None
    status: TicketStatus
    created_at: str
    first_response_at: str | None
    resolved_at: str | None


class CsatResponseShown(Answer):
    """A CSAT response as it is in the store."""

    id: str
    ticket_id: str
    score: int
    submitted_at: str


class Total(Answer):
    """The number of all rows."""

    total: int


@dataclass(frozen=True)
class RowKind:
    """One kind of row, as its routes need it.

    Attributes:
        path: its collection in the URL.
        name: its name in operation ids.
        noun: its name in descriptions.
        prefix: the prefix of its ids.
        model: its table.
        new: the body that creates one.
        change: the body that changes one.
        shown: the answer.
        filters: the columns that a list can be filtered by.
    """

    path: str
    name: str
    noun: str
    prefix: str
    model: Any
    new: type[BaseModel]
    change: type[BaseModel]
    shown: type[BaseModel]
    filters: tuple[str, ...]


KINDS = (
    RowKind(
        path="members",
        name="Member",
        noun="member",
        prefix=ids.MEMBER,
        model=Member,
        new=MemberRow,
        change=MemberChange,
        shown=MemberShown,
        filters=("name",),
    ),
    RowKind(
        path="customers",
        name="Customer",
        noun="customer",
        prefix=ids.CUSTOMER,
        model=Customer,
        new=CustomerRow,
        change=CustomerChange,
        shown=CustomerShown,
        filters=("name",),
    ),
    RowKind(
        path="tickets",
        name="Ticket",
        noun="ticket",
        prefix=ids.TICKET,
        model=Ticket,
        new=NewTicket,
        change=TicketChange,
        shown=TicketShown,
        filters=("status", "customer_id", "assignee_id"),
    ),
    RowKind(
        path="csat-responses",
        name="CsatResponse",
        noun="CSAT response",
        prefix=ids.CSAT_RESPONSE,
        model=CsatResponse,
        new=NewCsatResponse,
        change=CsatResponseChange,
        shown=CsatResponseShown,
        filters=("ticket_id", "score"),
    ),
)


def page_of(kind: RowKind) -> type[BaseModel]:
    """Return the answer of a list: some rows, sorted by id, and the number of all."""
    fields: dict[str, Any] = {"items": (list[kind.shown], ...), "meta": (Total, ...)}  # type: ignore[name-defined]
    return create_model(f"{kind.name}Page", __base__=Answer, __doc__="Some rows, and the number of all.", **fields)


def filters_of(kind: RowKind) -> type[BaseModel]:
    """Return the query parameters of a list: the environment, the page, and columns to be equal to.

    A field has its parameter's own name: older releases of FastAPI mix up a field's name and its alias.
    """
    columns: dict[str, Any] = {
        to_camel(column): (
            _OF_COLUMN.get(column, Text | None),
            Field(None, description="Only those that have this value."),
        )
        for column in kind.filters
    }
    return create_model(
        f"{kind.name}Filters",
        __base__=Body,
        environment=(Environment, Environment.TEST),
        limit=(Annotated[int, Field(ge=1, le=1000)], 100),
        offset=(Annotated[int, Field(ge=0, le=10**9)], 0),
        **columns,
    )


_OF_COLUMN: dict[str, Any] = {
    "status": TicketStatus | None,
    "score": Annotated[int, Field(ge=1, le=5)] | None,
}
