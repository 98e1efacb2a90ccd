import hashlib
import hmac
from itertools import count

from fauxchange.client.chance import nonces
from fauxchange.client.signing import Credentials, Signer

SECRET = "c2VjcmV0LW9mLXRoZS1kZW1v"
WALL_NS = 1_769_860_800_123_999_999
BODY = b'{"symbol":"BTC-USD","side":"buy","type":"market","quantity":"0.01","client_order_id":"my-1"}'


def signer(*, nonce: str = "") -> Signer:
    return Signer(Credentials(api_key="key-1", api_secret=SECRET), now_ns=lambda: WALL_NS, nonce=lambda: nonce)


def test_the_signature_covers_time_method_path_query_and_body_in_this_order() -> None:
    # printf '%s' 1769860800123POST/api/v1/orders?a=1'{"symbol":...}' | openssl dgst -sha256 -hmac $SECRET
    expected = "4641787b625ccf7fdf372906b288369082d507664f7d9b52bef8c91751f6ea7c"

    headers = signer().headers("POST", b"/api/v1/orders?a=1", BODY)

    assert headers["FX-Signature"] == expected
    assert headers["FX-Timestamp"] == "1769860800123"
    assert headers["FX-Key"] == "key-1"


def test_a_nonce_is_signed_between_time_and_method() -> None:
    signed = b"1769860800123" + b"n7" + b"GET/api/v1/account/balances"

    headers = signer(nonce="n7").headers("GET", b"/api/v1/account/balances", b"")

    assert headers["FX-Nonce"] == "n7"
    assert headers["FX-Signature"] == hmac.digest(SECRET.encode(), signed, hashlib.sha256).hex()


def test_a_websocket_is_signed_for_by_its_path() -> None:
    frame = signer(nonce="n7").auth_frame("/api/v1/exchange/ws")

    signature = frame.pop("signature")
    signed = b"1769860800123n7WS/api/v1/exchange/ws"
    assert signature == hmac.digest(SECRET.encode(), signed, hashlib.sha256).hex()
    assert frame == {"op": "auth", "key": "key-1", "timestamp": "1769860800123", "nonce": "n7"}


def test_no_two_nonces_are_equal_even_of_two_clients() -> None:
    one, other = nonces(), nonces()

    drawn = [one() for _ in range(100)] + [other() for _ in range(100)]

    assert len(set(drawn)) == 200


def test_a_secret_is_never_shown() -> None:
    assert SECRET not in repr(Credentials(api_key="key-1", api_secret=SECRET))


def test_two_requests_of_one_millisecond_have_different_signatures() -> None:
    numbers = count()
    twice = Signer(
        Credentials(api_key="key-1", api_secret=SECRET), now_ns=lambda: WALL_NS, nonce=lambda: str(next(numbers))
    )

    first, second = (twice.headers("GET", b"/api/v1/orders", b"") for _ in range(2))

    assert first["FX-Signature"] != second["FX-Signature"]
