"""The use cases of the exchange: sequencing, accounting, quoting, telling."""
