"""The pure part of market data: models, scenarios, quotes, candles and subscriptions; no I/O, clock or randomness."""
