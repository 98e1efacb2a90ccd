"""Who asks: signed requests of traders, and the administrators' key.

A request is signed with HMAC-SHA256, keyed with the secret, over `timestamp + nonce + message`, where the message is
method, path with query, and body exactly as they were sent. The nonce, if there is one, has no slash in it, and no
method is the end of another: whoever moves the borders between the parts has another text.

What is accepted is accepted once. A signature is remembered for as long as its timestamp could be accepted under the
widest window, because the window itself is not signed. Two things bound that memory. A timestamp whose signatures have
been forgotten, for whatever reason, is refused from then on: when too many signatures come at once, the window shrinks
and nothing slips through. And a timestamp from before this process is refused, because nobody remembers what was
accepted then.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from fauxchange.domain.errors import InvalidRequest, Unauthenticated
from fauxchange.domain.orders import KeyRecord
from fauxchange.domain.times import NS_PER_MS
from fauxchange.platform.administration import AdminKey
from fauxchange.platform.credentials import SecretBox
from fauxchange.services.exchange.service.requests import Caller, Role

DEFAULT_WINDOW_MS: Final = 5_000
MAX_WINDOW_MS: Final = 60_000
AHEAD_MS: Final = 1_000
"""How far a caller's clock may be ahead of this one."""
MAX_REMEMBERED: Final = 1_000_000
"""Signatures that are remembered: 80 MB at the most, and a minute of 16,000 requests a second."""

_TIMESTAMP_DIGITS: Final = 13
_NONCE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(0x36 ^ byte for byte in range(256))
_OUTER: Final = bytes(0x5C ^ byte for byte in range(256))

ADMIN: Final = Caller(Role.ADMIN, -1, "admin")


class KeyDirectory(Protocol):
    """Where API keys are found, as they are at this moment."""

    def find(self, api_key: str) -> KeyRecord | None:
        """Return an API key's record, a revoked one's too."""
        ...


class Signer:
    """Make the signatures of one secret; what depends on the secret alone is done once.

    Source: RFC 2104, section 4 (a hash that has taken in the padded key is copied instead of made)
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        padded = (sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret).ljust(_BLOCK_BYTES, b"\0")
        self._inner = sha256(padded.translate(_INNER))
        self._outer = sha256(padded.translate(_OUTER))

    def sign(self, text: bytes) -> str:
        """Return the signature of a text, as lower-case hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.hexdigest()


class _Known(NamedTuple):
    encrypted_secret: str
    signer: Signer
    caller: Caller


class Remembered:
    """Signatures that have been accepted, by the second of their timestamp.

    `floor_ms` is the first timestamp of which nothing has been forgotten: what lies before it must be refused.
    """

    def __init__(self, *, floor_ms: int, capacity: int) -> None:
        self.floor_ms = floor_ms
        self._capacity = capacity
        self._count = 0
        self._seconds: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, stamp_ms: int, signature: str, now_ms: int) -> bool:
        """Remember a signature; return False if it is remembered already."""
        second = stamp_ms // 1_000
        seen = self._seconds.get(second)
        if seen is None:
            self._forget_before((now_ms - MAX_WINDOW_MS) // 1_000)
            seen = self._seconds[second] = set()
        # 60 bits are the most that an integer keeps in its smallest form, and enough for one second.
        mark = int(signature[:15], 16)
        if mark in seen:
            return False
        seen.add(mark)
        self._count += 1
        while self._count > self._capacity:
            self._forget(min(self._seconds))
        return True

    def _forget_before(self, horizon: int) -> None:
        for second in [second for second in self._seconds if second < horizon]:
            self._forget(second)

    def _forget(self, second: int) -> None:
        self._count -= len(self._seconds.pop(second))
        self.floor_ms = max(self.floor_ms, (second + 1) * 1_000)


class Access:
    """Let callers in who have proven who they are.

    `wall_ns` is the wall's time. Requests stamped before `not_before_ns` are refused: that is when the process started
    or, where an earlier run may have accepted requests of the same keys, `AHEAD_MS` later, because it may have accepted
    timestamps that far ahead of its end.
    """

    def __init__(
        self,
        keys: KeyDirectory,
        box: SecretBox,
        *,
        admin_key: str,
        wall_ns: Callable[[], int],
        not_before_ns: int,
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._keys = keys
        self._box = box
        self._wall_ns = wall_ns
        self._admin_key = AdminKey(admin_key)
        self._known: dict[str, _Known] = {}
        # Signed for, when the key is not known, so that the answer takes as long as for one that is.
        self._nobody = Signer(self._admin_key.digest)
        self.remembered = Remembered(floor_ms=-(-not_before_ns // NS_PER_MS), capacity=max_remembered)

    def refuse_before(self, ts_ns: int) -> None:
        """Refuse requests that were stamped before this, besides those that are refused already."""
        self.remembered.floor_ms = max(self.remembered.floor_ms, -(-ts_ns // NS_PER_MS))

    def unlock(self, records: Iterable[KeyRecord]) -> None:
        """Decrypt the secrets of keys that may be used soon, so that a wrong key file is found at the start.

        Raises: ConfigurationError
        """
        for record in records:
            if not record.revoked_ns:
                self._signer_of(record)

    def signed(
        self,
        *,
        key: str,
        timestamp: str,
        signature: str,
        message: bytes,
        window: str | None = None,
        nonce: str | None = None,
    ) -> Caller:
        """Return who has signed a request.

        `message` is METHOD + path?query + body, `GRPC` + the full method, or `WS` + the path.

        Units:  timestamp and window in milliseconds, as text
        Raises: Unauthenticated; InvalidRequest for a window or a nonce that cannot be
        """
        now_ms = self._wall_ns() // NS_PER_MS
        stamp_ms = self._check_time(timestamp, window, now_ms)
        text = timestamp.encode() + message
        if nonce is not None:
            if not _NONCE.fullmatch(nonce):
                raise InvalidRequest(
                    "a nonce is 1 to 64 letters, digits, dots, dashes or underscores",
                    code="invalid_nonce",
                    field="nonce",
                )
            text = (timestamp + nonce).encode() + message
        record = self._keys.find(key)
        known = None if record is None else self._signer_of(record)
        expected = (self._nobody if known is None else known.signer).sign(text)
        fits = signature.isascii() and hmac.compare_digest(expected, signature)
        if record is None or known is None or not fits:
            raise Unauthenticated(
                "the API key is not known here, or the signature is not the one of this request",
                code="invalid_signature",
            )
        if record.revoked_ns:
            raise Unauthenticated("the API key has been revoked", code="key_revoked")
        self._remember(stamp_ms, expected, now_ms)
        return known.caller

    def accept(self, key: str, stamp_ms: int, signature: str) -> Caller:
        """Accept once what a gateway has found rightly signed. Raises: Unauthenticated."""
        record = self._keys.find(key)
        if record is None:
            raise Unauthenticated("the API key is not known here", code="invalid_signature")
        if record.revoked_ns:
            raise Unauthenticated("the API key has been revoked", code="key_revoked")
        now_ms = self._wall_ns() // NS_PER_MS
        self._check_time(str(stamp_ms), str(MAX_WINDOW_MS), now_ms)
        self._remember(stamp_ms, signature, now_ms)
        return Caller(Role.TRADER, record.account, f"key:{key}")

    def _remember(self, stamp_ms: int, signature: str, now_ms: int) -> None:
        if not self.remembered.add(stamp_ms, signature, now_ms):
            raise Unauthenticated(
                "this very request has been made before; sign it anew, with a nonce if it is of the same millisecond",
                code="replayed_request",
            )

    def stands(self, api_key: str) -> bool:
        """Say whether an API key is still one that may be used."""
        record = self._keys.find(api_key)
        return record is not None and not record.revoked_ns

    def admin(self, authorization: str | None) -> Caller:
        """Return the administrator who presents `Bearer <admin key>`.

        Raises: Unauthenticated; Forbidden if it is a trader's API key
        """
        self._admin_key.check(authorization)
        return ADMIN

    def _check_time(self, timestamp: str, window: str | None, now_ms: int) -> int:
        if len(timestamp) != _TIMESTAMP_DIGITS or not (timestamp.isascii() and timestamp.isdigit()):
            raise Unauthenticated(
                f"a timestamp is the milliseconds since 1970, {_TIMESTAMP_DIGITS} digits",
                code="invalid_timestamp",
                field="timestamp",
            )
        stamp_ms = int(timestamp)
        window_ms = DEFAULT_WINDOW_MS if window is None else _window_ms(window)
        if stamp_ms < now_ms - window_ms or stamp_ms < self.remembered.floor_ms:
            raise Unauthenticated(
                f"the request was signed {now_ms - stamp_ms} ms ago: too long, or before this process started",
                code="stale_timestamp",
                field="timestamp",
                details={"server_time_ms": str(now_ms)},
            )
        if stamp_ms > now_ms + AHEAD_MS:
            raise Unauthenticated(
                f"the timestamp is {stamp_ms - now_ms} ms ahead of the server's clock, and {AHEAD_MS} ms are allowed",
                code="future_timestamp",
                field="timestamp",
                details={"server_time_ms": str(now_ms)},
            )
        return stamp_ms

    def _signer_of(self, record: KeyRecord) -> _Known:
        known = self._known.get(record.api_key)
        if known is None or known.encrypted_secret != record.encrypted_secret:
            secret = self._box.decrypt(record.encrypted_secret, record.api_key)
            caller = Caller(Role.TRADER, record.account, f"key:{record.api_key}")
            known = self._known[record.api_key] = _Known(record.encrypted_secret, Signer(secret.encode()), caller)
        return known


@lru_cache(maxsize=64)
def _window_ms(window: str) -> int:
    if window.isascii() and window.isdigit() and len(window) <= 5 and 0 < int(window) <= MAX_WINDOW_MS:
        return int(window)
    raise InvalidRequest(
        f"a window is 1 to {MAX_WINDOW_MS} milliseconds, a whole number", code="invalid_window", field="window"
    )
