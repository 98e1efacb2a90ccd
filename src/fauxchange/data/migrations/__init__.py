"""The migrations of the PostgreSQL schema, in Alembic's layout; `versions/` has one file for each.

A migration is frozen once it has been released: what a later version changes is a migration of its own.
"""

HEAD = "0001"
"""The newest migration; a start compares it with the database without loading Alembic."""
VERSION_SCHEMA = "migrations"
VERSION_TABLE = "alembic_version"
"""Where a database keeps the migration that it has reached."""
