"""The trading commands of the reference exchange."""

from types import SimpleNamespace

from oracle.matching import Matching
from oracle.records import Account, Instrument, Order, Refused, fee_of, other
from oracle.requests import MOST_LOTS, STOPS, check_order, check_risk, first_failing, may_carry
from oracle.walk import crosses, trades_ahead


class Trading(Matching):
    """Placing, changing and ending orders."""

    def __init__(self) -> None:
        super().__init__()
        self.last_order_id = 0
        self.ts_ns = 0
        self.requested = 0
        """The id that the order of the command under way was given; 0 if it did not come so far."""

    # Who and what is asked about

    def account_of(self, command: SimpleNamespace) -> Account:
        """Return the account that a command names."""
        if not 0 <= command.account < len(self.accounts):
            raise Refused("UNKNOWN_ACCOUNT")
        return self.accounts[command.account]

    def instrument_of(self, command: SimpleNamespace) -> Instrument:
        """Return the instrument that a command names."""
        if not 0 <= command.instrument < len(self.instruments):
            raise Refused("UNKNOWN_INSTRUMENT")
        return self.instruments[command.instrument]

    def order_of(self, command: SimpleNamespace) -> Order:
        """Return the open order that a command names, if it belongs to the account that asks."""
        order = self.orders.get(command.order_id)
        if order is None and 0 < command.order_id <= self.last_order_id:
            raise Refused("ORDER_FINISHED")
        if order is None or order.account != command.account:
            raise Refused("UNKNOWN_ORDER")
        return order

    # New orders

    def place(self, command: SimpleNamespace) -> None:
        """Accept and match a new order, or refuse it."""
        order = self.accepted(command)
        self.start(order)

    def accepted(self, command: SimpleNamespace, replaced: Order | None = None) -> Order:
        """Check a new order, reserve for it and say that it is accepted."""
        account = self.account_of(command)
        self.last_order_id += 1
        self.requested = self.last_order_id
        instrument = self.instrument_of(command)
        check_order(command, self.ts_ns)
        open_orders = self.open_orders(command.account, command.instrument)
        if replaced is not None and replaced.instrument == command.instrument:
            open_orders -= 1
        check_risk(command, account, instrument, open_orders)
        if replaced is None and command.refused:
            raise Refused("PRE_TRADE_REFUSED")
        order = self.order_from(command, account, instrument)
        if order.post_only:
            self.refuse_crossing_post_only(order, order.price_ticks, instrument)
        self.hold(order)
        if order.order_type == "MARKET":
            self.refuse_unaffordable(order, account, instrument)
        self.say("ORDER_ACCEPTED", order)
        return order

    def order_from(self, command: SimpleNamespace, account: Account, instrument: Instrument) -> Order:
        """Return the order that a command asks for, not yet in the book."""
        return Order(
            order_id=self.last_order_id,
            account=command.account,
            instrument=command.instrument,
            side=command.side,
            order_type=command.order_type,
            time_in_force=command.time_in_force,
            self_trade=command.self_trade,
            post_only=command.post_only,
            price_ticks=command.price_ticks,
            stop_ticks=command.stop_ticks,
            order_lots=command.order_lots,
            display_lots=command.display_lots,
            quote_amount=command.quote_amount,
            expires_ns=command.expires_ns,
            taker_rate=instrument.rates(account.tier)[1],
        )

    def open_orders(self, account: int, instrument: int) -> int:
        """Return how many orders an account has open in an instrument."""
        return sum(order.account == account and order.instrument == instrument for order in self.orders.values())

    def refuse_crossing_post_only(self, order: Order, price_ticks: int, instrument: Instrument) -> None:
        """Refuse a post-only order at a price where it would meet another order.

        Raises: Refused
        """
        maker = instrument.best(other(order.side))
        if maker is not None and crosses(order.side, price_ticks, maker.price_ticks):
            raise Refused("POST_ONLY_WOULD_TRADE")

    def refuse_unaffordable(self, order: Order, account: Account, instrument: Instrument) -> None:
        """Refuse a market order whose walk through the book costs more than is free.

        Raises: Refused
        """
        if instrument.unfunded:
            return
        if order.side == "SELL" and not order.quote_amount:
            needed, asset = order.order_lots * instrument.lot_value, instrument.base_asset
        elif order.side == "SELL":
            lots = sum(step.lots for step in trades_ahead(order, instrument, 0))
            needed, asset = lots * instrument.lot_value, instrument.base_asset
        elif order.quote_amount:
            needed, asset = order.quote_amount + fee_of(order.quote_amount, order.taker_rate), instrument.quote_asset
        else:
            cost = sum(instrument.notional(step.lots, step.price_ticks) for step in trades_ahead(order, instrument, 0))
            needed = cost + fee_of(cost, order.taker_rate)
            asset = instrument.quote_asset
        if account.free[asset] < needed:
            raise Refused("INSUFFICIENT_FUNDS")

    def start(self, order: Order) -> None:
        """Let a new order trade, or wait for its stop price."""
        if order.order_type in STOPS:
            self.orders[order.order_id] = order
            self.instruments[order.instrument].waiting.append(order)
        else:
            self.enter(order)

    # Changes

    def amend(self, command: SimpleNamespace) -> None:
        """Change price and size: a decrease keeps the place in the queue, anything else goes to its back."""
        order = self.changed(command)
        keeps = command.price_ticks == order.price_ticks and command.order_lots <= order.order_lots
        self.rewrite(order, command, "ORDER_AMENDED", keeps=keeps)

    def replace_in_place(self, command: SimpleNamespace) -> None:
        """Give an order another price under its id and so many lots open; it goes to the back and may trade."""
        order = self.changed(command)
        total = SimpleNamespace(price_ticks=command.price_ticks, order_lots=order.cum_lots + command.order_lots)
        self.rewrite(order, total, "ORDER_REPLACED", keeps=False)

    def changed(self, command: SimpleNamespace) -> Order:
        """Return the order that a command may change.

        Raises: Refused
        """
        account = self.account_of(command)
        order = self.order_of(command)
        instrument = self.instruments[order.instrument]
        waits = order in instrument.waiting
        first_failing(
            (0 < command.order_lots <= MOST_LOTS, "BAD_QUANTITY"),
            (may_carry(order.order_type, order.side, command.price_ticks), "BAD_PRICE"),
            (not (waits and command.kind == "REPLACE_IN_PLACE"), "BAD_COMBINATION"),
        )
        wanted = SimpleNamespace(order_lots=command.order_lots, price_ticks=command.price_ticks, quote_amount=0)
        check_risk(wanted, account, instrument, -1)
        if order.post_only:
            self.refuse_crossing_post_only(order, command.price_ticks, instrument)
        if command.kind == "AMEND" and command.order_lots <= order.cum_lots:
            raise Refused("AMEND_BELOW_FILLED")
        return order

    def rewrite(self, order: Order, command: SimpleNamespace, kind: str, *, keeps: bool) -> None:
        """Give an order its new price and size, with the reservation they need; what keeps its place keeps its rate."""
        instrument = self.instruments[order.instrument]
        before = order.price_ticks, order.order_lots, order.taker_rate
        self.release(order)
        order.price_ticks, order.order_lots = command.price_ticks, command.order_lots
        if not keeps:
            order.taker_rate = instrument.rates(self.accounts[order.account].tier)[1]
        try:
            self.hold(order)
        except Refused:
            order.price_ticks, order.order_lots, order.taker_rate = before
            self.hold(order)
            raise
        self.say(kind, order)
        if order in instrument.waiting:
            return
        if keeps:
            order.shown_lots = min(order.shown_lots, order.leaves_lots)
            return
        instrument.resting.remove(order)
        del self.orders[order.order_id]
        self.enter(order)

    def cancel_replace(self, command: SimpleNamespace) -> None:
        """Cancel one order and place another: both or neither."""
        self.account_of(command)
        replaced = self.order_of(command)
        instrument = self.instruments[replaced.instrument]
        queue = instrument.resting if replaced in instrument.resting else instrument.waiting
        place = queue.index(replaced)
        self.end(replaced, "ORDER_CANCELED", "REPLACED")
        try:
            order = self.accepted(command)
        except Refused:
            queue.insert(place, replaced)
            self.orders[replaced.order_id] = replaced
            self.hold(replaced)
            raise
        self.start(order)

    # Ends

    def cancel(self, command: SimpleNamespace) -> None:
        """Cancel an order."""
        self.account_of(command)
        self.end(self.order_of(command), "ORDER_CANCELED", "CANCELED_BY_USER")

    def cancel_all(self, command: SimpleNamespace) -> None:
        """Cancel the orders of an account, in one instrument or in all, oldest first."""
        self.account_of(command)
        if command.instrument != -1:
            self.instrument_of(command)
        for order in sorted(self.orders.values(), key=lambda order: (order.instrument, order.order_id)):
            if order.account == command.account and command.instrument in {-1, order.instrument}:
                self.end(order, "ORDER_CANCELED", "CANCELED_ALL")

    def expire(self, _: SimpleNamespace) -> None:
        """Expire every order whose time has come, in order of time and id."""
        due = [order for order in self.orders.values() if order.expires_ns and order.expires_ns <= self.ts_ns]
        for order in sorted(due, key=lambda order: (order.expires_ns, order.order_id)):
            self.end(order, "ORDER_EXPIRED", "EXPIRED")

    def note(self, _: SimpleNamespace) -> None:
        """Let time go on, and do nothing."""
