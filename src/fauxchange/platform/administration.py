"""The administrators' key: who presents it may change what runs."""

import hmac
from hashlib import sha256
from typing import Self

from fauxchange.domain.errors import Forbidden, Unauthenticated
from fauxchange.platform.credentials import API_KEY_PREFIX


class AdminKey:
    """Know the key when it is presented; only its digest is kept."""

    def __init__(self, key: str) -> None:
        self._digest = sha256(key.encode()).digest()

    def __deepcopy__(self, memo: object) -> Self:
        # The framework copies routes with all that they hold.
        return self

    @property
    def digest(self) -> bytes:
        """The key's SHA-256."""
        return self._digest

    def check(self, authorization: str | None) -> None:
        """Let `Bearer <admin key>` pass.

        Raises: Unauthenticated; Forbidden if it is a trader's API key
        """
        kind, _, credentials = (authorization or "").partition(" ")
        if kind.lower() != "bearer":
            raise Unauthenticated("this wants `Authorization: Bearer <admin key>`", code="admin_key_required")
        given = credentials.strip()
        # Digests have one length, so that the time the comparison takes says nothing about the key.
        if hmac.compare_digest(sha256(given.encode("utf-8", "replace")).digest(), self._digest):
            return
        # By its looks alone: whether there is such a key is nobody's business.
        if given.startswith(API_KEY_PREFIX):
            raise Forbidden("this is for administrators; an API key does not open it")
        raise Unauthenticated("this is not the admin key", code="wrong_admin_key")
