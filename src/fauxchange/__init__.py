"""Fauxchange: a trading ecosystem on a laptop, for people who build trading systems."""

__version__ = "0.1.0"
