"""Helpers for tests, ours and those of people who build on Fauxchange."""
