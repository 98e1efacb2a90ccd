"""The one place that joins services: which exist, and how they are wired together."""
