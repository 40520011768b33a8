"""The answers of the two analytics endpoints; the order of the fields is the order of the keys [doc]."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cstar_mock.contract.periods import Period

Count = Annotated[int, Field(ge=0)]


class _Answer(BaseModel):
    # A client that was generated from the document has to accept fields that production adds later.
    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Tickets(_Answer):
    """The overview's ticket figures."""

    total: Count = Field(description="Tickets created in the period.")
    open: Count = Field(description="Tickets open now, whatever the period: new, open or pending.")
    resolved: Count = Field(description="Tickets resolved in the period, and still resolved or closed.")


class Customers(_Answer):
    """The overview's customer figures."""

    total: Count = Field(description="All customers.")
    active: Count = Field(description="Customers who created a ticket in the period.")
    new: Count = Field(description="Customers created in the period.")


class Csat(_Answer):
    """The overview's satisfaction figures."""

    average: float | None = Field(
        description="Mean score from 1 to 5 of the responses submitted in the period, to one decimal; null without any."
    )
    totalResponses: Count = Field(description="Responses submitted in the period.")  # noqa: N815


class Overview(_Answer):
    """Tickets, customers and satisfaction over a period."""

    object: Literal["analytics_overview"] = "analytics_overview"
    period: Period = Field(description="The period asked for.")
    tickets: Tickets
    customers: Customers
    csat: Csat


class AgentStats(_Answer):
    """One team member's figures, over all time."""

    object: Literal["agent_stats"] = "agent_stats"
    userId: str = Field(description="The team member's id.")  # noqa: N815
    name: str = Field(description="The team member's name.")
    ticketsResolved: Count = Field(description="Tickets assigned to the member and resolved.")  # noqa: N815
    avgResponseTime: float | None = Field(  # noqa: N815
        description="Mean minutes from a ticket's creation to its first response, to one decimal; "
        "null if the member has answered none."
    )
    csatAverage: float | None = Field(  # noqa: N815
        description="Mean score of the responses to the member's tickets, to one decimal; null without any."
    )
