"""Roll-ups of the rows; `migrate.upgrade` fills them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WHOSE = ("team_id", "environment")


def upgrade() -> None:
    op.create_table(
        "rollups",
        *_whose(),
        sa.Column("width", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        *_numbers("tickets", "dropped", "resolved", "customers", "newest_tickets", "responses", "score_sum"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_rollups_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(*WHOSE, "width", "bucket", name=op.f("pk_rollups")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "member_totals",
        *_whose(),
        sa.Column("member_id", sa.String(length=64), nullable=False),
        *_numbers("resolved", "answered", "waited_seconds", "waited_microseconds", "responses", "score_sum"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_member_totals_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(*WHOSE, "member_id", name=op.f("pk_member_totals")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "newest_tickets",
        *_whose(),
        sa.Column("customer_id", sa.String(length=64), nullable=False),
        *_numbers("created_at"),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_newest_tickets_teams"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint(*WHOSE, "customer_id", name=op.f("pk_newest_tickets")),
        sqlite_with_rowid=False,
    )
    _index("newest_tickets", "created_at")
    _drop_index("tickets", "created_at", "customer_id")
    _drop_index("tickets", "status", "created_at")
    _drop_index("tickets", "customer_id")
    _index("tickets", "created_at")
    _index("tickets", "first_response_at")
    _index("tickets", "customer_id", "created_at")


def downgrade() -> None:
    _drop_index("tickets", "customer_id", "created_at")
    _drop_index("tickets", "first_response_at")
    _drop_index("tickets", "created_at")
    _index("tickets", "customer_id")
    _index("tickets", "status", "created_at")
    _index("tickets", "created_at", "customer_id")
    op.drop_table("newest_tickets")
    op.drop_table("member_totals")
    op.drop_table("rollups")


def _whose() -> list[sa.Column[str]]:
    return [
        sa.Column("team_id", sa.String(length=36), nullable=False),
        sa.Column("environment", sa.String(length=4), nullable=False),
    ]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join((*WHOSE, *columns))}"), table, [*WHOSE, *columns])


def _drop_index(table: str, *columns: str) -> None:
    op.drop_index(op.f(f"ix_{table}_{'_'.join((*WHOSE, *columns))}"), table)
