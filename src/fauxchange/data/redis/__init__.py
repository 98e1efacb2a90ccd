"""Cache, registry, hot price history and price streams in Redis."""
