"""What every service stands on: clock, settings, logging, errors, health, metrics, HTTP and gRPC servers."""
