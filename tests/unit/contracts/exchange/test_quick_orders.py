import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fauxchange.contracts.exchange import messages
from fauxchange.contracts.exchange.messages import OrderRequest, QuickOrder

QUICK = msgspec.json.Decoder(QuickOrder)
EXACT = msgspec.json.Decoder(OrderRequest)
LIMIT = {"symbol": "BTC/USD", "side": "buy", "quantity": "0.010", "price": "60000.00", "client_order_id": "my-1"}

AMOUNTS = st.from_regex(r"[0-9]{1,21}(\.[0-9]{1,19})?", fullmatch=True) | st.text("0123456789.-e\n", max_size=42)
SYMBOLS = st.sampled_from(["BTC/USD", "btc-usd", "BTC", "", "BTC/USD\n", "A" * 17 + "/USD"]) | st.text(max_size=41)
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,37}\n?", fullmatch=True) | st.text(max_size=40)
DOCUMENTS = st.fixed_dictionaries(
    {"symbol": SYMBOLS, "side": st.sampled_from(["buy", "sell", "hold"])},
    optional={
        "type": st.sampled_from(["limit", "market", "stop", "nothing"]),
        "quantity": st.none() | AMOUNTS,
        "quote_quantity": st.none() | AMOUNTS,
        "price": st.none() | AMOUNTS,
        "stop_price": st.none() | AMOUNTS,
        "display_quantity": st.none() | AMOUNTS,
        "time_in_force": st.none() | st.sampled_from(["GTC", "IOC", "never"]),
        "post_only": st.booleans() | st.just(1),
        "client_order_id": st.none() | NAMES,
        "colour": st.just("red"),
    },
)


def decoded(decoder, document):
    try:
        return msgspec.structs.asdict(decoder.decode(msgspec.json.encode(document)))
    except msgspec.ValidationError:
        return None


@given(DOCUMENTS)
def test_what_is_decoded_quickly_is_what_is_decoded_exactly(document):
    quick = decoded(QUICK, document)

    assert quick is None or quick == decoded(EXACT, document)


@pytest.mark.parametrize(
    "changes",
    [{}, {"type": "limit"}, {"client_order_id": None}, {"price": None, "type": "market"}, {"post_only": True}],
)
def test_the_usual_orders_are_decoded_quickly(changes):
    assert decoded(QUICK, LIMIT | changes) == decoded(EXACT, LIMIT | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "BTC"},
        {"symbol": "B" * 100},
        {"quantity": "-1"},
        {"quantity": "1" * 41},
        {"price": "1e5"},
        {"price": "6" * 1_000},
        {"client_order_id": "a b"},
        {"client_order_id": "a" * 37},
        {"colour": "red"},
    ],
)
def test_what_is_wrong_is_not_decoded_quickly(changes):
    assert decoded(QUICK, LIMIT | changes) is None
    assert decoded(EXACT, LIMIT | changes) is None


def test_what_was_seen_before_is_decoded_quickly_again_and_only_that():
    assert decoded(QUICK, LIMIT | {"symbol": "SEEN/USD", "price": "123.5"}) is not None

    again = decoded(QUICK, LIMIT | {"symbol": "SEEN/USD", "price": "123.5", "quantity": None})
    parts = [decoded(QUICK, LIMIT | {"symbol": "SEEN/"}), decoded(QUICK, LIMIT | {"price": "123."})]

    assert again is not None
    assert parts == [None, None]
    assert ("SEEN/USD" in messages._symbols, "123.5" in messages._amounts) == (True, True)
    assert messages._symbols.isdisjoint({"SEEN/", "SEEN"})


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(messages, "MAX_KNOWN", 10)
    monkeypatch.setattr(messages, "_amounts", {None})

    sizes = [
        (decoded(QUICK, LIMIT | {"price": str(price)}) is not None, len(messages._amounts)) for price in range(100)
    ]

    assert all(is_quick and size <= 10 for is_quick, size in sizes)
    assert decoded(QUICK, LIMIT | {"quantity": None, "price": None}) is not None
