"""How orders trade, rest, wait and end, with the money that goes along."""

from typing import Any

from oracle.records import FEES, LARGEST, Account, Instrument, Order, Refused, fee_of, other
from oracle.requests import AT_MARKET
from oracle.walk import affordable, crosses, take_shown, trades_ahead


class Matching:
    """The part of the reference exchange that trades."""

    def __init__(self) -> None:
        self.accounts: list[Account] = []
        self.instruments: list[Instrument] = []
        self.orders: dict[int, Order] = {}
        """Open orders only: those that rest, and stops that wait."""
        self.events: list[dict[str, Any]] = []
        self.last_trade_id = 0

    def emit(self, kind: str, **fields: int | str) -> None:
        """Say what happened."""
        self.events.append({"kind": kind, **fields})

    def say(self, kind: str, order: Order, reason: str = "NONE", status: str = "") -> None:
        """Say what happened to an order."""
        lots = order.cum_lots if order.quote_amount else order.order_lots
        self.emit(
            kind,
            reason=reason,
            order_id=order.order_id,
            account=order.account,
            instrument=order.instrument,
            side=order.side,
            price_ticks=order.price_ticks,
            order_lots=lots,
            cum_lots=order.cum_lots,
            leaves_lots=lots - order.cum_lots,
            order_status=status or ("PARTIALLY_FILLED" if order.cum_lots else "NEW"),
        )

    # Money

    def reservation(self, order: Order) -> dict[int, int]:
        """Return what an open order holds of each asset for the lots it has left."""
        instrument = self.instruments[order.instrument]
        if instrument.unfunded or order.order_type == "MARKET":
            return {}  # A market order ends with its command; what it may cost was compared with what is free.
        if order.side == "SELL":
            return {instrument.base_asset: order.leaves_lots * instrument.lot_value}
        notional = instrument.notional(order.leaves_lots, order.price_ticks)
        return {instrument.quote_asset: notional + fee_of(notional, order.taker_rate)}

    def hold(self, order: Order) -> None:
        """Reserve for an order.

        Raises: Refused if the free balance is short
        """
        account = self.accounts[order.account]
        for asset, amount in self.reservation(order).items():
            if amount > LARGEST:
                raise Refused("OVERFLOW")
            if account.free[asset] < amount:
                raise Refused("INSUFFICIENT_FUNDS")
            account.free[asset] -= amount
            account.held[asset] += amount

    def release(self, order: Order) -> None:
        """Give back all that an order still holds."""
        account = self.accounts[order.account]
        for asset, amount in self.reservation(order).items():
            account.held[asset] -= amount
            account.free[asset] += amount

    def pay(self, maker: Order, taker: Order, lots: int) -> tuple[int, int]:
        """Move base and quote of one fill and the fees of both; return the fees of maker and taker."""
        instrument = self.instruments[maker.instrument]
        cost = instrument.notional(lots, maker.price_ticks)
        charged = {}
        buyer, seller = (maker, taker) if maker.side == "BUY" else (taker, maker)
        for order in (seller, buyer):
            self.release(order)
            order.cum_lots += lots
            order.spent += cost
            account = self.accounts[order.account]
            for asset, amount in self.reservation(order).items():
                account.free[asset] -= amount
                account.held[asset] += amount
        if instrument.unfunded:
            return 0, 0
        base, quote = instrument.base_asset, instrument.quote_asset
        self.accounts[seller.account].free[base] -= lots * instrument.lot_value
        self.accounts[buyer.account].free[base] += lots * instrument.lot_value
        self.accounts[buyer.account].free[quote] -= cost
        self.accounts[seller.account].free[quote] += cost
        for order in (seller, buyer):
            account = self.accounts[order.account]
            rate = instrument.rates(account.tier)[0 if order is maker else 1]
            charged[order is maker] = fee = min(fee_of(cost, rate), account.free[quote])
            account.free[quote] -= fee
            self.accounts[FEES].free[quote] += fee
        return charged[True], charged[False]

    # The life of an order

    def end(self, order: Order, kind: str, reason: str) -> None:
        """Close an order that is not filled, release what it holds and say why."""
        self.leave(order)
        self.release(order)
        self.say(kind, order, reason, "CANCELED" if kind == "ORDER_CANCELED" else "EXPIRED")

    def leave(self, order: Order) -> None:
        """Take an order out of wherever it is."""
        instrument = self.instruments[order.instrument]
        for queue in (instrument.resting, instrument.waiting):
            if order in queue:
                queue.remove(order)
        self.orders.pop(order.order_id, None)

    def enter(self, order: Order) -> None:
        """Let an accepted order trade, then rest or end."""
        if order.time_in_force == "FOK" and not self.can_fill(order):
            self.end(order, "ORDER_EXPIRED", "FOK_UNFILLED")
            return
        stopped_by = self.trade(order)
        at_market = order.order_type in AT_MARKET
        if stopped_by == "FILLED" or (stopped_by == "AMOUNT_TOO_SMALL" and order.cum_lots > 0):
            self.leave(order)
        elif stopped_by == "SELF_TRADE":
            self.end(order, "ORDER_EXPIRED", "SELF_TRADE")
        elif order.time_in_force in {"IOC", "FOK"} or at_market:
            if stopped_by == "IOC_REST" and at_market and order.cum_lots == 0:
                stopped_by = "NO_LIQUIDITY"
            self.end(order, "ORDER_CANCELED", stopped_by)
        else:
            self.orders[order.order_id] = order
            order.show()
            self.instruments[order.instrument].resting.append(order)

    def can_fill(self, order: Order) -> bool:
        """Say whether the book can fill all of an order now."""
        steps = trades_ahead(order, self.instruments[order.instrument], order.price_ticks)
        return sum(step.lots for step in steps) >= order.leaves_lots

    def trade(self, taker: Order) -> str:
        """Trade as far as price and liquidity go; return why the taker stopped."""
        instrument = self.instruments[taker.instrument]
        while taker.leaves_lots > 0 or taker.quote_amount > 0:
            if 0 < taker.quote_amount == taker.spent:
                return "AMOUNT_TOO_SMALL"
            maker = instrument.best(other(taker.side))
            if maker is None or not crosses(taker.side, taker.price_ticks, maker.price_ticks):
                return "IOC_REST"
            if maker.account == taker.account and taker.self_trade != "NONE":
                if taker.self_trade in {"EXPIRE_MAKER", "EXPIRE_BOTH"}:
                    self.end(maker, "ORDER_EXPIRED", "SELF_TRADE")
                if taker.self_trade in {"EXPIRE_TAKER", "EXPIRE_BOTH"}:
                    return "SELF_TRADE"
                continue
            most = maker.shown_lots if taker.quote_amount else min(taker.leaves_lots, maker.shown_lots)
            lots = affordable(taker, instrument, maker.price_ticks, most, taker.spent)
            if lots == 0:
                return "AMOUNT_TOO_SMALL"
            self.fill(maker, taker, lots)
        return "FILLED"

    def fill(self, maker: Order, taker: Order, lots: int) -> None:
        """Trade `lots` at the maker's price."""
        instrument = self.instruments[maker.instrument]
        maker_fee, taker_fee = self.pay(maker, taker, lots)
        maker.cum_lots -= lots  # `take_shown` counts them, as it does for a walk over copies.
        take_shown(instrument.resting, maker, lots)
        if maker.leaves_lots == 0:
            self.orders.pop(maker.order_id, None)
        self.last_trade_id += 1
        instrument.last_ticks = maker.price_ticks
        self.emit(
            "TRADE",
            trade_id=self.last_trade_id,
            instrument=taker.instrument,
            maker_order_id=maker.order_id,
            order_id=taker.order_id,
            maker_account=maker.account,
            account=taker.account,
            side=taker.side,
            price_ticks=maker.price_ticks,
            last_lots=lots,
            maker_fee=maker_fee,
            taker_fee=taker_fee,
            maker_leaves_lots=maker.leaves_lots,
            cum_lots=taker.cum_lots,
        )

    # Stops

    def is_due(self, order: Order) -> bool:
        """Say whether the last trade price triggers a waiting order."""
        last = self.instruments[order.instrument].last_ticks
        if last == 0:
            return False
        rising = (order.side == "BUY") == order.order_type.startswith("STOP")
        return last >= order.stop_ticks if rising else last <= order.stop_ticks

    def cascade(self) -> None:
        """Let stops that are due enter, round after round, in the order of their ids."""
        while True:
            due = [order for instrument in self.instruments for order in instrument.waiting if self.is_due(order)]
            if not due:
                return
            for order in sorted(due, key=lambda order: order.order_id):
                self.instruments[order.instrument].waiting.remove(order)
                order.triggered = True
                self.say("ORDER_TRIGGERED", order)
                self.enter(order)
