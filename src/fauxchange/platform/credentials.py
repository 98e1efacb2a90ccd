"""API keys, their secrets, and the box in which secrets are stored.

A signature cannot be checked without the secret itself, so a secret is stored encrypted (AES-256-GCM), under a key that
lies in a file of its own: neither the database nor the file alone gives it away.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fauxchange.domain.errors import ConfigurationError
from fauxchange.platform.keys import load_or_create_key

API_KEY_PREFIX: Final = "fxk_"
_API_KEY_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FORM: Final = "v1."
"""Opens what was encrypted in this way, so that another way can be told from it."""


def new_api_key() -> str:
    """Return the public name of a new credential: of letters, digits and `_`, and of no secret meaning."""
    return API_KEY_PREFIX + secrets.token_hex(_API_KEY_BYTES)


def new_api_secret() -> str:
    """Return a secret to sign with (256 bits), as URL-safe text."""
    return secrets.token_urlsafe(_SECRET_BYTES)


class SecretBox:
    """Encrypt secrets for the store, each bound to the API key that it belongs to."""

    def __init__(self, key: str, *, origin: str = "the key") -> None:
        self._cipher = AESGCM(sha256(b"fauxchange secret box\0" + key.encode()).digest())
        self._origin = origin

    @classmethod
    def from_file(cls, path: Path) -> "SecretBox":
        """Return the box of a key file, which is made (0600) if there is none. Raises: ConfigurationError."""
        return cls(load_or_create_key(path), origin=f"key file {path}")

    def encrypt(self, secret: str, api_key: str) -> str:
        """Return a secret as it may be stored; only with the same API key does it open again."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.encode(), api_key.encode())
        return _FORM + urlsafe_b64encode(nonce + sealed).decode()

    def decrypt(self, encrypted: str, api_key: str) -> str:
        """Return the secret that `encrypt` has encrypted.

        Raises: ConfigurationError if it was encrypted with another key file or for another API key, or was changed
        """
        try:
            if not encrypted.startswith(_FORM):
                raise NotBase64
            raw = urlsafe_b64decode(encrypted.removeprefix(_FORM))
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], api_key.encode()).decode()
        except (InvalidTag, ValueError) as exc:
            raise ConfigurationError(
                f"the stored secret of API key {api_key} cannot be opened with {self._origin}: put back the key file "
                "that belongs to this data, or revoke the key and make another",
                code="wrong_key_file",
            ) from exc


def new_credentials(box: SecretBox) -> tuple[str, str, str]:
    """Return a new API key, its secret, and the secret encrypted."""
    api_key, secret = new_api_key(), new_api_secret()
    return api_key, secret, box.encrypt(secret, api_key)
