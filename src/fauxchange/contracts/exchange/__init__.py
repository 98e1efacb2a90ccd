"""Contracts of the exchange service."""
