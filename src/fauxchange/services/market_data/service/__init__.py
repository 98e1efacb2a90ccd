"""The use cases of market data: feeding, publishing, storing, querying, bending."""
