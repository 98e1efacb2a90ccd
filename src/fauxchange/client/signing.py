"""Signatures of trading requests.

Lower-case hex HMAC-SHA256, keyed with the secret, of `timestamp + nonce + METHOD + path?query + body`, each exactly as
it is sent. A venue takes a signature once; the nonce keeps equal requests of one millisecond apart.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

from fauxchange.domain.times import NS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An API key and its secret, which is never shown."""

    api_key: str
    api_secret: str = field(repr=False)


class Signer:
    """Sign with one key.

    Units: now_ns returns wall time in nanoseconds since 1970
    """

    def __init__(self, credentials: Credentials, *, now_ns: Callable[[], int], nonce: Callable[[], str]) -> None:
        self._credentials = credentials
        self._now_ns = now_ns
        self._nonce = nonce

    def headers(self, method: str, target: bytes, body: bytes) -> dict[str, str]:
        """Return the headers that sign an HTTP request; `target` is its path with its query."""
        timestamp, nonce, signature = self._sign(method.encode() + target + body)
        return {
            "FX-Key": self._credentials.api_key,
            "FX-Timestamp": timestamp,
            "FX-Nonce": nonce,
            "FX-Signature": signature,
        }

    def auth_frame(self, path: str) -> dict[str, str]:
        """Return the members of a WebSocket `auth` frame for the endpoint at `path`."""
        timestamp, nonce, signature = self._sign(b"WS" + path.encode())
        return {
            "op": "auth",
            "key": self._credentials.api_key,
            "timestamp": timestamp,
            "nonce": nonce,
            "signature": signature,
        }

    def _sign(self, message: bytes) -> tuple[str, str, str]:
        timestamp, nonce = str(self._now_ns() // NS_PER_MS), self._nonce()
        signed = timestamp.encode() + nonce.encode() + message
        return timestamp, nonce, hmac.new(self._credentials.api_secret.encode(), signed, hashlib.sha256).hexdigest()
