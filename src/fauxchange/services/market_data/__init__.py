"""The market-data simulator: it generates, replays, stores and distributes prices."""
