"""Contracts of the configuration service."""
