"""One index of tickets for assignee and first response; `migrate.upgrade` fills roll-ups in wider buckets."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index(op.f("ix_tickets_team_id_environment_first_response_at"), "tickets")
    op.drop_index(op.f("ix_tickets_team_id_environment_assignee_id"), "tickets")
    op.create_index(
        op.f("ix_tickets_team_id_environment_assignee_id_first_response_at"),
        "tickets",
        ["team_id", "environment", "assignee_id", "first_response_at"],
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_tickets_team_id_environment_assignee_id_first_response_at"), "tickets")
    for column in ("assignee_id", "first_response_at"):
        op.create_index(op.f(f"ix_tickets_team_id_environment_{column}"), "tickets", ["team_id", "environment", column])
