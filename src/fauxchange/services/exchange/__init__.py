"""The exchange simulator: accounts, ledger, orders and matching."""
