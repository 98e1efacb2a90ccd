"""The use cases of configuration."""
