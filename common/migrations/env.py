"""What Alembic runs around the steps. Not for importing: Alembic executes it.

The connection comes from deploy/migrate.py, with its lock. Each step is a transaction of its own, so that one
that fails leaves the database at the step before it.
"""

from alembic import context

from common.schema_version import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
