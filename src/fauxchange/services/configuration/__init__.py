"""The configuration service: typed values by service, environment and key, with their history."""
