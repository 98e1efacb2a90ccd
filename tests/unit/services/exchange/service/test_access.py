"""Signatures: what is accepted, once, and everything that is not."""

import hmac
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from fauxchange.domain.errors import ConfigurationError, FauxchangeError, Forbidden, InvalidRequest, Unauthenticated
from fauxchange.domain.orders import KeyRecord
from fauxchange.platform.credentials import SecretBox
from fauxchange.services.exchange.service.access import AHEAD_MS, Access, Remembered, Signer
from fauxchange.services.exchange.service.requests import Caller, Role

NOW_MS = 1_769_860_800_000
BOX = SecretBox("the box's key")
SECRET = "the secret"


class Keys:
    """A directory of keys that a test changes."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.add("fxk_alice", 3, SECRET)

    def add(self, api_key: str, account: int, secret: str) -> None:
        self.records[api_key] = KeyRecord(
            api_key=api_key,
            account=account,
            label="",
            encrypted_secret=BOX.encrypt(secret, api_key),
            created_ns=0,
        )

    def revoke(self, api_key: str) -> None:
        self.records[api_key] = msgspec.structs.replace(self.records[api_key], revoked_ns=1)

    def find(self, api_key: str) -> KeyRecord | None:
        return self.records.get(api_key)


class Door:
    """Access on a wall clock that a test moves, and a caller who signs."""

    def __init__(self, *, not_before_ms: int = 0, max_remembered: int = 1_000) -> None:
        self.now_ms = NOW_MS
        self.keys = Keys()
        self.not_before_ms = not_before_ms
        self.max_remembered = max_remembered
        self.access = self.restarted()

    def restarted(self) -> Access:
        return Access(
            self.keys,
            BOX,
            admin_key="the admin key",
            wall_ns=lambda: self.now_ms * 1_000_000,
            not_before_ns=self.not_before_ms * 1_000_000,
            max_remembered=self.max_remembered,
        )

    def send(self, request: dict[str, Any]) -> Caller:
        return self.access.signed(**request)

    def code(self, request: dict[str, Any]) -> str:
        with pytest.raises(FauxchangeError) as refused:
            self.send(request)
        return refused.value.code


def signed(
    message: bytes = b"POST/api/v1/orders?a=1&b=2{}",
    *,
    stamp_ms: int | str = NOW_MS,
    nonce: str | None = None,
    window: str | None = None,
    key: str = "fxk_alice",
    secret: str = SECRET,
) -> dict[str, Any]:
    text = str(stamp_ms).encode() + (nonce or "").encode() + message
    return {
        "key": key,
        "timestamp": str(stamp_ms),
        "signature": hmac.new(secret.encode(), text, "sha256").hexdigest(),
        "message": message,
        "window": window,
        "nonce": nonce,
    }


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_signed_request_is_its_account_s(door: Door) -> None:
    assert door.send(signed()) == Caller(Role.TRADER, 3, "key:fxk_alice")


@pytest.mark.parametrize("length", [1, 31, 43, 64, 65, 200])
@pytest.mark.parametrize("text", [b"", b"short", b"x" * 5_000])
def test_a_signature_is_hmac_sha256_for_secrets_of_every_length(length: int, text: bytes) -> None:
    secret = bytes(range(1, 201))[:length]

    assert Signer(secret).sign(text) == hmac.new(secret, text, "sha256").hexdigest()


def test_the_signature_of_the_documentation_is_what_openssl_makes() -> None:
    # printf '%s' '1769860800000GET/api/v1/account' | openssl dgst -sha256 -hmac 'the secret'
    expected = "331a6ed4c0401b73ff973f66b7b1a33a2cf445aa86fc11426fd3fae36588fca4"

    assert Signer(b"the secret").sign(b"1769860800000GET/api/v1/account") == expected


# Altered requests


@pytest.mark.parametrize(
    "message",
    [
        b"POST/api/v1/orders?a=1&b=2{ }",
        b"POST/api/v1/orders?b=2&a=1{}",
        b"POST/api/v1/orders?a=1&b=3{}",
        b"POST/api/v1/orders?a=1{}",
        b"POST/api/v1/order?a=1&b=2{}",
        b"PUT/api/v1/orders?a=1&b=2{}",
        b"",
    ],
    ids=["body", "order of parameters", "query", "parameter left out", "path", "method", "everything"],
)
def test_an_altered_request_is_refused(door: Door, message: bytes) -> None:
    assert door.code(signed() | {"message": message}) == "invalid_signature"


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": str(NOW_MS + 1)},
        {"nonce": "1"},
        {"key": "fxk_nobody"},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "é" * 64},
        {"signature": signed()["signature"].upper()},
        {"signature": signed()["signature"] + "0"},
    ],
)
def test_what_the_signature_does_not_cover_is_refused(door: Door, change: dict[str, str]) -> None:
    assert door.code(signed() | change) == "invalid_signature"


def test_a_nonce_that_is_left_out_or_put_in_is_an_alteration(door: Door) -> None:
    assert door.code(signed(nonce="abc") | {"nonce": None}) == "invalid_signature"
    assert door.code(signed() | {"nonce": "abc"}) == "invalid_signature"


def test_whoever_moves_the_border_between_nonce_and_method_repeats_the_request(door: Door) -> None:
    request = signed(b"POST/orders", nonce="abc")
    door.send(request)

    assert door.code(request | {"nonce": "abcP", "message": b"OST/orders"}) == "replayed_request"


def test_an_unknown_key_and_a_wrong_signature_are_told_alike(door: Door) -> None:
    refusals = []
    for request in (signed(key="fxk_nobody"), signed(secret="another")):
        with pytest.raises(Unauthenticated) as refused:
            door.send(request)
        refusals.append((refused.value.code, refused.value.message, refused.value.field, refused.value.details))

    assert refusals[0] == refusals[1]


# Once


def test_a_request_is_accepted_once(door: Door) -> None:
    request = signed()
    door.send(request)

    assert door.code(request) == "replayed_request"


@pytest.mark.parametrize("later_ms", [0, 1, 4_999, 5_000, 5_001, 59_999, 60_000, 60_001, 120_000])
def test_a_request_is_never_accepted_again_even_with_a_wider_window(door: Door, later_ms: int) -> None:
    request = signed()
    door.send(request)

    door.now_ms += later_ms
    door.send(signed(stamp_ms=door.now_ms, nonce="another"))

    assert door.code(request | {"window": "60000"}) in {"replayed_request", "stale_timestamp"}


def test_a_refused_request_is_not_remembered(door: Door) -> None:
    request = signed()
    assert door.code(request | {"message": b"GET/"}) == "invalid_signature"

    assert door.send(request).account == 3


def test_equal_requests_of_one_millisecond_are_told_apart_by_their_nonce(door: Door) -> None:
    door.send(signed(nonce="1"))

    assert door.send(signed(nonce="2")).account == 3
    assert door.code(signed(nonce="1")) == "replayed_request"


@pytest.mark.parametrize("nonce", ["", "a/b", "a b", "é", "x" * 65, "1\n"])
def test_a_nonce_that_could_be_taken_for_something_else_is_refused(door: Door, nonce: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        door.send(signed() | {"nonce": nonce})

    assert refused.value.code == "invalid_nonce"


def test_equal_requests_of_two_keys_are_two_requests(door: Door) -> None:
    door.keys.add("fxk_bob", 4, "another secret")

    assert door.send(signed()).account == 3
    assert door.send(signed(key="fxk_bob", secret="another secret")).account == 4


# In time


@pytest.mark.parametrize(("window", "age_ms"), [(None, 5_000), ("1", 1), ("60000", 60_000)])
def test_a_request_is_good_until_its_window_is_over(window: str | None, age_ms: int) -> None:
    fresh, stale = Door(), Door()
    fresh.now_ms += age_ms
    stale.now_ms += age_ms + 1

    assert fresh.send(signed(window=window)).account == 3
    assert stale.code(signed(window=window)) == "stale_timestamp"


def test_a_clock_may_be_ahead_by_a_second(door: Door) -> None:
    assert door.send(signed(stamp_ms=NOW_MS + 1_000)).account == 3
    assert door.code(signed(stamp_ms=NOW_MS + 1_001)) == "future_timestamp"
    assert door.code(signed(stamp_ms=NOW_MS + 1_001, window="60000")) == "future_timestamp"


def test_whoever_is_refused_for_the_time_is_told_the_servers(door: Door) -> None:
    with pytest.raises(Unauthenticated) as refused:
        door.send(signed(stamp_ms=NOW_MS - 60_000))

    assert refused.value.details == {"server_time_ms": str(NOW_MS)}


@pytest.mark.parametrize("window", ["0", "60001", "-1", "5.0", "", "+5", " 5", "\u0665", "9" * 30, "000005"])
def test_a_window_that_cannot_be_is_refused(door: Door, window: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        door.send(signed(window=window))

    assert refused.value.code == "invalid_window"


@pytest.mark.parametrize(
    "stamp", ["", "now", "-1", "17698608000", "1769860800000.0", "1769860800000000", "\u0661" * 13, "+176986080000"]
)
def test_a_timestamp_is_thirteen_digits(door: Door, stamp: str) -> None:
    assert door.code(signed() | {"timestamp": stamp}) == "invalid_timestamp"


def test_honest_requests_may_arrive_in_any_order(door: Door) -> None:
    stamps = [NOW_MS - 4_000, NOW_MS + 900, NOW_MS - 1, NOW_MS - 5_000, NOW_MS, NOW_MS - 2_500]

    assert [door.send(signed(stamp_ms=stamp)).account for stamp in stamps] == [3] * 6


# Keys


def test_a_revoked_key_is_refused_from_that_moment_on(door: Door) -> None:
    door.send(signed(nonce="1"))
    stood = door.access.stands("fxk_alice")
    door.keys.revoke("fxk_alice")

    assert door.code(signed(nonce="2")) == "key_revoked"
    assert (stood, door.access.stands("fxk_alice"), door.access.stands("fxk_nobody")) == (True, False, False)


def test_only_who_has_the_secret_learns_that_a_key_is_revoked(door: Door) -> None:
    door.keys.revoke("fxk_alice")

    assert door.code(signed(secret="guessed")) == "invalid_signature"


def test_secrets_are_decrypted_once() -> None:
    class CountingBox(SecretBox):
        opened = 0

        def decrypt(self, encrypted: str, api_key: str) -> str:
            self.opened += 1
            return super().decrypt(encrypted, api_key)

    box = CountingBox("the box's key")
    access = Access(Keys(), box, admin_key="a", wall_ns=lambda: NOW_MS * 1_000_000, not_before_ns=0)

    for number in range(5):
        access.signed(**signed(nonce=str(number)))

    assert box.opened == 1


def test_a_wrong_key_file_is_found_at_the_start() -> None:
    keys = Keys()
    access = Access(keys, SecretBox("another"), admin_key="a", wall_ns=lambda: 0, not_before_ns=0)

    with pytest.raises(ConfigurationError):
        access.unlock(keys.records.values())
    keys.revoke("fxk_alice")
    access.unlock(keys.records.values())


# Restarts and bounds


def test_nothing_of_an_earlier_process_is_accepted_by_the_next() -> None:
    door = Door()
    requests = [signed(stamp_ms=NOW_MS + ahead_ms) for ahead_ms in (-4_000, 0, AHEAD_MS)]
    for request in requests:
        door.send(request)

    door.now_ms += 10
    door.not_before_ms = door.now_ms + AHEAD_MS
    door.access = door.restarted()

    assert [door.code(request) for request in requests] == ["stale_timestamp"] * 3
    door.now_ms += AHEAD_MS
    assert door.send(signed(stamp_ms=door.now_ms)).account == 3


def test_when_too_much_must_be_remembered_the_window_shrinks_and_nothing_is_accepted_twice() -> None:
    door = Door(max_remembered=10)
    early = [signed(stamp_ms=NOW_MS - 3_000, nonce=f"early{number}") for number in range(4)]
    late = [signed(stamp_ms=NOW_MS, nonce=f"late{number}") for number in range(8)]
    for request in early + late:
        door.send(request)

    assert len(door.access.remembered) <= 10
    assert {door.code(request) for request in early} == {"stale_timestamp"}
    assert {door.code(request) for request in late} == {"replayed_request"}
    assert door.code(signed(stamp_ms=NOW_MS - 2_500)) == "stale_timestamp"
    assert door.send(signed(stamp_ms=NOW_MS - 1_500)).account == 3


def test_the_widest_window_stays_open_while_requests_come_and_go(door: Door) -> None:
    for second in range(120):
        door.now_ms = NOW_MS + second * 1_000
        door.send(signed(stamp_ms=door.now_ms))

    assert door.send(signed(stamp_ms=door.now_ms - 59_999, window="60000", nonce="late")).account == 3


def test_what_can_no_longer_be_accepted_is_forgotten(door: Door) -> None:
    for second in range(300):
        door.now_ms = NOW_MS + second * 1_000
        door.send(signed(stamp_ms=door.now_ms))

    assert len(door.access.remembered) <= 62


def test_a_wall_clock_that_is_set_back_opens_no_second_chance(door: Door) -> None:
    request = signed()
    door.send(request)
    door.now_ms += 200_000
    door.send(signed(stamp_ms=door.now_ms))

    door.now_ms = NOW_MS

    assert door.code(request) == "stale_timestamp"


def test_a_wall_clock_that_was_wrong_for_a_moment_shuts_nobody_out(door: Door) -> None:
    door.send(signed())
    door.now_ms += 86_400_000
    door.send(signed(stamp_ms=door.now_ms))

    door.now_ms = NOW_MS + 2_000

    assert door.send(signed(stamp_ms=door.now_ms)).account == 3


def test_a_memory_of_one_second_that_overflows_refuses_the_rest_of_that_second() -> None:
    remembered = Remembered(floor_ms=0, capacity=2)
    marks = [f"{number:064x}" for number in (1 << 200, 2 << 200, 3 << 200)]

    added = [remembered.add(NOW_MS, mark, NOW_MS) for mark in marks]

    assert added == [True, True, True]
    assert len(remembered) == 0
    assert remembered.floor_ms == NOW_MS + 1_000


# Administrators


def test_the_admin_key_opens_administration(door: Door) -> None:
    assert door.access.admin("Bearer the admin key") == Caller(Role.ADMIN, -1, "admin")
    assert door.access.admin("bearer the admin key ").role is Role.ADMIN


@pytest.mark.parametrize(
    ("authorization", "kind", "code"),
    [
        (None, Unauthenticated, "admin_key_required"),
        ("", Unauthenticated, "admin_key_required"),
        ("Basic the admin key", Unauthenticated, "admin_key_required"),
        ("Bearer", Unauthenticated, "wrong_admin_key"),
        ("Bearer the admin", Unauthenticated, "wrong_admin_key"),
        ("Bearer the admin key2", Unauthenticated, "wrong_admin_key"),
        ("Bearer \udc80é", Unauthenticated, "wrong_admin_key"),
        ("Bearer fxk_alice", Forbidden, "forbidden"),
        ("Bearer fxk_nobody", Forbidden, "forbidden"),
    ],
)
def test_nobody_else_administers(door: Door, authorization: str | None, kind: type[FauxchangeError], code: str) -> None:
    with pytest.raises(kind) as refused:
        door.access.admin(authorization)

    assert refused.value.code == code


def test_callers_are_values() -> None:
    caller = Caller(Role.TRADER, 3, "key:fxk_alice")

    assert replace(caller, account=4) != caller


def test_what_was_stamped_before_a_later_floor_is_stale(door: Door) -> None:
    door.access.refuse_before((NOW_MS + 500) * 1_000_000)

    assert door.code(signed()) == "stale_timestamp"
    assert door.send(signed(stamp_ms=NOW_MS + 500)).account == 3
