"""Which servers the environment and `.env` name: one for tests, perhaps, and one that tests must keep away from."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from fauxchange.domain.errors import ConfigurationError


def named(variable: str) -> str | None:
    """Return what a variable says, the environment before `.env`; None where it says nothing."""
    settings = {**dotenv_values(Path(".env")), **os.environ}
    return settings.get(variable) or None


def refuse_live(variable: str, url: str, live_variable: str, default_port: int) -> None:
    """Raise ConfigurationError if a URL for tests leads to the same database as the setting of the live one."""
    live = named(live_variable)
    if live is not None and _place(live, default_port) == _place(url, default_port):
        raise ConfigurationError(
            f"{variable} names the database of {live_variable}, and tests would write into it; "
            "give them a database of their own"
        )


def _place(url: str, default_port: int) -> tuple[str, int, str]:
    parts = urlsplit(url)
    host = (parts.hostname or "localhost").lower()
    database = parts.path.strip("/")
    return "127.0.0.1" if host == "localhost" else host, parts.port or default_port, database or "0"
