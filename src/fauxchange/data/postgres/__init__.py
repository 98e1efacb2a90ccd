"""The repositories over PostgreSQL."""
