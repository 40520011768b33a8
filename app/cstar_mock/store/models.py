"""The rows: teams, API keys, members, customers, tickets and CSAT responses; and their roll-ups.

Every row but the team itself belongs to one team and one environment, and every primary key leads with the
team, so that the schema can be distributed by team. Instants are whole microseconds since 1970 (see `clock`).
The constraints refuse rows that make no sense, whichever way they come in.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    and_,
    bindparam,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cstar_mock.contract.clock import Duration, Instant
from cstar_mock.contract.vocabulary import Environment, KeyType, TicketStatus


@dataclass(frozen=True, slots=True)
class Scope:
    """A team and an environment. Every statement takes it first, so that none can read across teams."""

    team_id: str
    environment: str


TEAM_ID: ColumnElement[str] = bindparam("team_id", type_=String)
ENVIRONMENT: ColumnElement[str] = bindparam("environment", type_=String)


def in_scope(rows: Any) -> ColumnElement[bool]:
    """Return the condition that a row, of a table's columns, belongs to the scope that a statement is executed with."""
    return and_(rows.team_id == TEAM_ID, rows.environment == ENVIRONMENT)


def _one_of(column: str, values: type[StrEnum] | tuple[StrEnum, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


class Base(DeclarativeBase):
    """The declarative base; names every constraint, so that migrations can find it again."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Team(Base):
    """A tenant: it owns keys, rows and a clock.

    `revision` grows in the transaction of every write to the team, so that what was computed before can be known to
    hold still. It begins with the instant of creation: a team that comes in the place of another one has a newer one.
    `origin` is the content that the team was made from, which a reset goes back to; `dataset` is the name of the data
    set that it stood in. `rate_limits` and `faults` are what a test has told the team to do.
    """

    __tablename__ = "teams"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    slug: Mapped[str] = mapped_column(String(100), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    clock_frozen_at: Mapped[Instant | None] = mapped_column(BigInteger)
    clock_offset: Mapped[Duration] = mapped_column(BigInteger, default=0)
    clock_advanced: Mapped[Duration] = mapped_column(BigInteger, default=0)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    dataset: Mapped[str | None] = mapped_column(String(100))
    origin: Mapped[dict[str, Any]] = mapped_column(JSON)
    rate_limits: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    faults: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    created_at: Mapped[Instant] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("clock_advanced >= 0", name="clock_advanced_not_negative"),)


class ApiKey(Base):
    """A key, kept only as its SHA-256 digest: keys are long and random, so a slow hash has no benefit."""

    __tablename__ = "api_keys"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4))
    key_type: Mapped[str] = mapped_column(String(11))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    last_four: Mapped[str] = mapped_column(String(4))
    name: Mapped[str | None] = mapped_column(String(100))
    rate_limit: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[Instant] = mapped_column(BigInteger)
    expires_at: Mapped[Instant | None] = mapped_column(BigInteger)
    revoked_at: Mapped[Instant | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(_one_of("environment", Environment), name="environment_known"),
        CheckConstraint(_one_of("key_type", KeyType), name="key_type_known"),
        CheckConstraint("rate_limit >= 1", name="rate_limit_positive"),
    )


class Member(Base):
    """A team member, an agent of the statistics; `removed_at` ends the membership, the tickets stay."""

    __tablename__ = "members"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[Instant] = mapped_column(BigInteger)
    removed_at: Mapped[Instant | None] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(_one_of("environment", Environment), name="environment_known"),
        CheckConstraint("removed_at >= created_at", name="removed_after_created"),
    )


class Customer(Base):
    """A person who creates tickets."""

    __tablename__ = "customers"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[Instant] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint(_one_of("environment", Environment), name="environment_known"),
        Index(None, "team_id", "environment", "created_at"),
    )


class Ticket(Base):
    """A request of a customer, with at most one assignee.

    `resolved_at` is set while the status is `resolved`, and may be while it is `closed`: reopening clears it,
    and a spam ticket is closed without ever having been resolved.
    """

    __tablename__ = "tickets"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(64))
    assignee_id: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[Instant] = mapped_column(BigInteger)
    first_response_at: Mapped[Instant | None] = mapped_column(BigInteger)
    resolved_at: Mapped[Instant | None] = mapped_column(BigInteger)

    __table_args__ = (
        ForeignKeyConstraint(
            ["team_id", "environment", "customer_id"],
            ["customers.team_id", "customers.environment", "customers.id"],
        ),
        ForeignKeyConstraint(
            ["team_id", "environment", "assignee_id"],
            ["members.team_id", "members.environment", "members.id"],
        ),
        CheckConstraint(_one_of("environment", Environment), name="environment_known"),
        CheckConstraint(_one_of("status", TicketStatus), name="status_known"),
        CheckConstraint("first_response_at >= created_at", name="first_response_after_created"),
        CheckConstraint("resolved_at >= created_at", name="resolved_after_created"),
        CheckConstraint("status <> 'resolved' OR resolved_at IS NOT NULL", name="resolved_has_instant"),
        CheckConstraint("resolved_at IS NULL OR status IN ('resolved', 'closed')", name="reopened_has_no_instant"),
        Index(None, "team_id", "environment", "created_at"),
        Index(None, "team_id", "environment", "resolved_at"),
        Index(None, "team_id", "environment", "assignee_id", "first_response_at"),
        Index(None, "team_id", "environment", "customer_id", "created_at"),
    )


class CsatResponse(Base):
    """A customer's score for one ticket, from 1 to 5; it belongs to the ticket's assignee."""

    __tablename__ = "csat_responses"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    ticket_id: Mapped[str] = mapped_column(String(64))
    score: Mapped[int] = mapped_column(Integer)
    submitted_at: Mapped[Instant] = mapped_column(BigInteger)

    __table_args__ = (
        ForeignKeyConstraint(
            ["team_id", "environment", "ticket_id"],
            ["tickets.team_id", "tickets.environment", "tickets.id"],
            ondelete="CASCADE",
        ),
        UniqueConstraint("team_id", "environment", "ticket_id"),
        CheckConstraint(_one_of("environment", Environment), name="environment_known"),
        CheckConstraint("score BETWEEN 1 AND 5", name="score_from_1_to_5"),
        Index(None, "team_id", "environment", "submitted_at", "score"),
    )


class Rollup(Base):
    """The counts of one bucket of time: `bucket` is an instant shifted right by `width` bits (see `rollups`).

    `dropped` counts those of the tickets created there that are closed without a resolution, `newest_tickets` the
    customers whose newest ticket was created there.
    """

    __tablename__ = "rollups"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    width: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    bucket: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tickets: Mapped[int] = mapped_column(BigInteger)
    dropped: Mapped[int] = mapped_column(BigInteger)
    resolved: Mapped[int] = mapped_column(BigInteger)
    customers: Mapped[int] = mapped_column(BigInteger)
    newest_tickets: Mapped[int] = mapped_column(BigInteger)
    responses: Mapped[int] = mapped_column(BigInteger)
    score_sum: Mapped[int] = mapped_column(BigInteger)

    # The buckets of one width lie side by side in the primary key itself.
    __table_args__ = ({"sqlite_with_rowid": False},)


class MemberTotals(Base):
    """The totals of a member's tickets, over all time.

    What customers waited for first responses is kept as seconds and microseconds, as a sum of microseconds could be
    more than 64 bits hold.
    """

    __tablename__ = "member_totals"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    member_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    resolved: Mapped[int] = mapped_column(BigInteger)
    answered: Mapped[int] = mapped_column(BigInteger)
    waited_seconds: Mapped[int] = mapped_column(BigInteger)
    waited_microseconds: Mapped[int] = mapped_column(BigInteger)
    responses: Mapped[int] = mapped_column(BigInteger)
    score_sum: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = ({"sqlite_with_rowid": False},)


class NewestTicket(Base):
    """The creation of a customer's newest ticket."""

    __tablename__ = "newest_tickets"

    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True)
    environment: Mapped[str] = mapped_column(String(4), primary_key=True)
    customer_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[Instant] = mapped_column(BigInteger)

    __table_args__ = (
        Index(None, "team_id", "environment", "created_at"),
        {"sqlite_with_rowid": False},
    )
