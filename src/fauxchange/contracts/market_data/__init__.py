"""Contracts of the market-data service."""
