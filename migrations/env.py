"""Run migrations on the connection that `cstar_mock.store.migrations` hands over."""

from alembic import context

from cstar_mock.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
