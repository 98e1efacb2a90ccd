"""A running server as the client commands see it: where it is, and its answers or refusals.

A refusal (problem+json) becomes the same failure here that it was there, so both ends tell the user the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    FauxchangeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    import httpx

ENV_FILE = Path(".env")
TIMEOUT_S = 10.0

_BY_STATUS: Mapping[int, type[FauxchangeError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: RateLimited,
    503: Unavailable,
    504: DeadlineExceeded,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an API of a running server is, with the key it wants."""

    url: str
    key: str | None = field(default=None, repr=False)


def find_server(url: str | None, data_dir: Path | None) -> Place:
    """Return where prices are served: at `url`, else where the data folder's `ready.json` says.

    Raises: ConfigurationError, NotFound if nothing is running there
    """
    if url is not None:
        return Place(url=_checked(url, "--url"))
    from fauxchange.platform.ready import read_ready

    return Place(url=read_ready(_data_folder(data_dir)).http)


def find_audit(url: str | None, key: str | None, data_dir: Path | None) -> Place:
    """Return where the audit API is, and its key, each as given or as the data folder says.

    Raises: ConfigurationError, NotFound if nothing is running there or it has no audit API
    """
    from fauxchange.platform.ready import read_ready

    if url is not None:
        key = key or _configured_key()
        if key is None:
            raise ConfigurationError("the audit API wants a key: give --audit-key or set AUDIT_KEY")
        return Place(url=_checked(url, "--audit-url"), key=key)
    ready = read_ready(_data_folder(data_dir))
    if ready.audit is None:
        raise ConfigurationError(
            "the server runs without its audit API; start it with AUDIT_ENABLED=true to use scenarios"
        )
    return Place(url=ready.audit, key=key or str(ready.secrets.get("audit_key", "")))


class Api:
    """Ask one API of a running server."""

    def __init__(self, place: Place, *, transport: "httpx.BaseTransport | None" = None) -> None:
        import httpx

        self._url = place.url
        headers = {} if place.key is None else {"authorization": f"Bearer {place.key}"}
        # The server is on this machine or named by hand: proxies of the environment are not meant for it.
        self._client = httpx.Client(
            base_url=place.url, headers=headers, timeout=TIMEOUT_S, trust_env=False, transport=transport
        )

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return the answer to GET. Raises: FauxchangeError as the server refuses, Unavailable if it is away."""
        return self._answer(lambda: self._client.get(path))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to POST. Raises: FauxchangeError as the server refuses, Unavailable if it is away."""
        return self._answer(lambda: self._client.post(path, json=dict(body)))

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to PUT. Raises: FauxchangeError as the server refuses, Unavailable if it is away."""
        return self._answer(lambda: self._client.put(path, json=dict(body)))

    def delete(self, path: str) -> dict[str, Any]:
        """Return the answer to DELETE. Raises: FauxchangeError as the server refuses, Unavailable if it is away."""
        return self._answer(lambda: self._client.delete(path))

    def _answer(self, ask: Callable[[], "httpx.Response"]) -> dict[str, Any]:
        import httpx

        try:
            response = ask()
        except httpx.TimeoutException as exc:
            raise DeadlineExceeded(f"{self._url} did not answer within {TIMEOUT_S:g} s") from exc
        except httpx.TransportError as exc:
            raise away(self._url, str(exc)) from exc
        return self.document_of(response)

    @staticmethod
    def document_of(response: "httpx.Response") -> dict[str, Any]:
        """Return what was answered. Raises: FauxchangeError as the server refuses, Unavailable if it is not ours."""
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            place = response.url.copy_with(raw_path=b"/")
            raise Unavailable(f"{place} answered {response.status_code} without JSON: it is no Fauxchange server")
        if document.get("code") == "not_found":
            raise NotFound(
                f"{response.url.copy_with(raw_path=b'/')} serves no {response.url.path}; where services run apart, "
                "each has an address and a data folder of its own: name the one that is meant with --url or --data-dir",
                code="not_found",
            )
        if response.is_error:
            raise refusal(response.status_code, document)
        return document


def refusal(status: int, problem: Mapping[str, Any]) -> FauxchangeError:
    """Return the failure that a problem document tells of."""
    kind = _BY_STATUS.get(status, InvalidRequest if status < 500 else FauxchangeError)
    message = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    if kind is FauxchangeError and "request_id" in problem:
        message += f" (request id {problem['request_id']})"
    if kind is Unauthenticated:
        of_admin = problem.get("code") in {"admin_key_required", "wrong_admin_key"}
        message += "; give the key with " + ("--admin-key or ADMIN_KEY" if of_admin else "--audit-key or AUDIT_KEY")
    return kind(message, code=problem.get("code"), field=problem.get("field"))


def away(url: str, reason: str) -> Unavailable:
    """Return the failure of a server that does not answer."""
    return Unavailable(f"nothing answers at {url} ({reason}); start it with `fauxchange up`, or name another address")


def path_of(*parts: str) -> str:
    """Return a path whose parts may hold any character."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _checked(url: str, option: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigurationError(f"{option} {url} is not an address such as http://127.0.0.1:8080")
    return url.rstrip("/")


def _data_folder(given: Path | None) -> Path:
    if given is not None:
        return given.expanduser()
    from fauxchange.platform.settings import load_settings

    return load_settings(env_file=ENV_FILE).data_dir


def _configured_key() -> str | None:
    from fauxchange.platform.settings import load_settings

    key = load_settings(env_file=ENV_FILE).audit_key
    return None if key is None else key.get_secret_value()
