"""The repositories in one SQLite file: the store of embedded mode."""
