"""Where a venue is and who asks there: as given, or as the `ready.json` of a venue on this machine says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fauxchange.client.signing import Credentials
from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.ready import read_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """An exchange and those who may ask it.

    `find_url` is asked before each connection of a stream, because a venue that was started again may listen elsewhere.
    """

    url: str
    credentials: Credentials | None = None
    admin_key: str | None = field(default=None, repr=False)
    find_url: Callable[[], str] | None = None

    def current_url(self) -> str:
        """Return where the exchange is now. Raises: NotFound with code `not_running`."""
        return self.url if self.find_url is None else self.find_url()


def venue_at(
    url: str,
    *,
    api_key: str | None = None,
    api_secret: str | None = None,
    admin_key: str | None = None,
) -> Venue:
    """Return a venue as given. Raises: ConfigurationError if a key comes without its secret, or the other way round."""
    if (api_key is None) is not (api_secret is None):
        raise ConfigurationError("an API key and its secret are given together")
    credentials = None
    if api_key is not None and api_secret is not None:
        credentials = Credentials(api_key=api_key, api_secret=api_secret)
    return Venue(
        url=url.rstrip("/"),
        credentials=credentials,
        admin_key=admin_key,
    )


def venue_in(data_dir: Path) -> Venue:
    """Return the venue that runs on a data folder, with its demo account and its admin key.

    Raises: NotFound with code `not_running` if there is none
    """
    ready = read_ready(data_dir)
    admin_key = ready.secrets.get("admin_key")
    return Venue(
        url=ready.http.rstrip("/"),
        credentials=_demo(ready.secrets.get("demo")),
        admin_key=None if admin_key is None else str(admin_key),
        find_url=lambda: read_ready(data_dir).http.rstrip("/"),
    )


def _demo(demo: Any) -> Credentials | None:
    match demo:
        case {"api_key": str(api_key), "api_secret": str(api_secret)}:
            return Credentials(api_key=api_key, api_secret=api_secret)
    return None
