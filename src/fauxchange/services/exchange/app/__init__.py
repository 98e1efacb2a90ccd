"""Build the exchange service alone, from concrete adapters."""
