from typing import Any

import msgspec
import pytest

from fauxchange.client.errors import OutOfStep
from fauxchange.client.views import BalancesView, BookView, OrdersView, TradesView
from fauxchange.contracts.exchange.messages import StreamFrame

TIME = "2026-01-31T12:00:00.000000Z"


def frame(data: Any, *, kind: str = "event", sequence: int = 1) -> StreamFrame:
    return StreamFrame(
        channel="any", symbol="BTC/USD", epoch=1, first_sequence=sequence, sequence=sequence, type=kind, data=data
    )


def trade(number: int) -> dict[str, Any]:
    return {
        "trade_id": str(number),
        "symbol": "BTC/USD",
        "side": "buy",
        "price": "60000.00",
        "quantity": "0.10000",
        "timestamp": TIME,
    }


def balance(asset: str, free: str) -> dict[str, Any]:
    return {"asset": asset, "free": free, "held": "0"}


def book(checksum: int | None, **levels: Any) -> dict[str, Any]:
    return {
        "symbol": "BTC/USD",
        "bids": levels.get("bids", []),
        "asks": levels.get("asks", []),
        "sequence": 1,
        "timestamp": TIME,
        "checksum": checksum,
    }


def test_trades_of_the_first_snapshot_are_the_past() -> None:
    view = TradesView()

    assert list(view.take(frame([trade(8), trade(9)], kind="snapshot"))) == []
    assert [each.trade_id for each in view.take(frame(trade(10)))] == ["10"]


def test_a_later_snapshot_tells_only_the_trades_that_were_missed() -> None:
    view = TradesView()
    list(view.take(frame([trade(9)], kind="snapshot")))
    list(view.take(frame(trade(10))))

    missed = view.take(frame([trade(9), trade(10), trade(11), trade(12)], kind="snapshot"))

    assert [each.trade_id for each in missed] == ["11", "12"]
    assert list(view.take(frame([trade(11), trade(12)], kind="snapshot"))) == []


def test_a_delta_of_balances_leaves_the_others_as_they_were() -> None:
    view = BalancesView()
    view.take(frame([balance("BTC", "1"), balance("USD", "5")], kind="snapshot"))

    (update,) = view.take(frame([balance("USD", "4")], kind="delta"))

    assert {asset: each.free for asset, each in update.balances.items()} == {"BTC": "1", "USD": "4"}
    assert [each.asset for each in update.changed] == ["USD"]


def test_a_snapshot_of_balances_forgets_what_is_not_in_it() -> None:
    view = BalancesView()
    view.take(frame([balance("BTC", "1"), balance("USD", "5")], kind="snapshot"))

    (update,) = view.take(frame([balance("USD", "5")], kind="snapshot"))

    assert list(update.balances) == ["USD"]


def test_orders_begin_with_those_that_are_open(make_order: Any) -> None:
    view, order = OrdersView(), make_order()

    (first,) = view.take(frame([msgspec.to_builtins(order)], kind="snapshot"))
    (second,) = view.take(frame({"exec_type": "canceled", "order": msgspec.to_builtins(order)}))

    assert (first.open_orders, first.report) == ([order], None)
    assert second.open_orders is None
    assert second.report is not None
    assert (second.report.exec_type, second.report.order) == ("canceled", order)


def test_a_book_that_disagrees_with_its_checksum_is_out_of_step() -> None:
    view = BookView()

    with pytest.raises(OutOfStep, match="BTC/USD"):
        view.take(frame(book(1, bids=[["1.00", "1"]]), kind="snapshot"))


def test_a_book_is_the_same_object_each_time() -> None:
    view = BookView()

    (first,) = view.take(frame(book(0), kind="snapshot"))
    (second,) = view.take(frame(book(None, bids=[["1.00", "1"]]), kind="delta", sequence=2))

    assert first is second
    assert str(second.best_bid) == "1.00:1"
