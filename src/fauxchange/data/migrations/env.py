"""Alembic's environment: it runs inside `fauxchange.data.postgres.schema`, on the connection that is handed over."""

from alembic import context

from fauxchange.data.postgres.schema import context_options
from fauxchange.data.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, **context_options())
with context.begin_transaction():
    context.run_migrations()
