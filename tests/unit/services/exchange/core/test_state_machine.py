"""Hypothesis looks for the shortest sequence of commands after which kernel and reference venue differ."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule
from oracle.lockstep import Kernel, Lockstep
from oracle.scripts import START_NS, command, opening

from fauxchange.platform.compiler import compile_kernel

accounts = st.integers(3, 7)
instruments = st.integers(0, 2)
sides = st.sampled_from(["BUY", "SELL"])
prices = st.integers(92, 108)
lots = st.integers(1, 12)
self_trades = st.sampled_from(["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"])


class Trading(RuleBasedStateMachine):
    """A founded venue, and everything that may be asked of it."""

    orders = Bundle("orders")

    @initialize()
    def found(self) -> None:
        self.both = Lockstep(Kernel.of(), compile_kernel)
        self.ts_ns = START_NS
        for each in opening():
            self.send(each)

    def send(self, made: Any) -> Any:
        made.ts_ns = self.ts_ns
        events = self.both.send(made, whole=True)
        accepted = [(event["account"], event["order_id"]) for event in events if event["kind"] == "ORDER_ACCEPTED"]
        return multiple(*accepted)

    @rule(nanoseconds=st.integers(0, 20))
    def wait_and_expire(self, nanoseconds: int) -> None:
        self.ts_ns += nanoseconds
        self.send(command("EXPIRE"))

    @rule(
        target=orders,
        account=accounts,
        instrument=instruments,
        side=sides,
        price=prices,
        size=lots,
        display=st.sampled_from([0, 0, 1, 3]),
        lifetime=st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK", "GTD"]),
        post_only=st.booleans(),
        self_trade=self_trades,
    )
    def place_limit(
        self,
        account: int,
        instrument: int,
        side: str,
        price: int,
        size: int,
        display: int,
        lifetime: str,
        post_only: bool,
        self_trade: str,
    ) -> Any:
        made = command("PLACE", account=account, instrument=instrument, side=side, price_ticks=price, order_lots=size)
        made.display_lots, made.time_in_force, made.self_trade = display, lifetime, self_trade
        made.post_only = post_only and lifetime == "GTC"
        made.expires_ns = self.ts_ns + 7 if lifetime == "GTD" else 0
        return self.send(made)

    @rule(
        account=accounts,
        instrument=instruments,
        side=sides,
        size=lots,
        amount=st.sampled_from([0, 0, 699, 700, 5_000]),
        lifetime=st.sampled_from(["IOC", "FOK"]),
        self_trade=self_trades,
    )
    def place_market(
        self, account: int, instrument: int, side: str, size: int, amount: int, lifetime: str, self_trade: str
    ) -> None:
        made = command("PLACE", account=account, instrument=instrument, side=side, order_type="MARKET")
        made.time_in_force, made.self_trade = lifetime, self_trade
        made.quote_amount, made.order_lots = amount, 0 if amount else size
        self.send(made)

    @rule(
        target=orders,
        account=accounts,
        instrument=instruments,
        side=sides,
        stop=prices,
        price=prices,
        size=lots,
        order_type=st.sampled_from(["STOP", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]),
        self_trade=self_trades,
    )
    def place_stop(
        self,
        account: int,
        instrument: int,
        side: str,
        stop: int,
        price: int,
        size: int,
        order_type: str,
        self_trade: str,
    ) -> Any:
        made = command("PLACE", account=account, instrument=instrument, side=side, order_type=order_type)
        made.stop_ticks, made.order_lots, made.self_trade = stop, size, self_trade
        at_market = not order_type.endswith("LIMIT")
        made.price_ticks = 0 if at_market and side == "SELL" else price
        made.time_in_force = "IOC" if at_market else "GTC"
        return self.send(made)

    @rule(order=orders)
    def cancel(self, order: tuple[int, int]) -> None:
        self.send(command("CANCEL", account=order[0], order_id=order[1]))

    @rule(order=orders, price=prices, size=lots, kind=st.sampled_from(["AMEND", "REPLACE_IN_PLACE"]))
    def change(self, order: tuple[int, int], price: int, size: int, kind: str) -> None:
        self.send(command(kind, account=order[0], order_id=order[1], price_ticks=price, order_lots=size))

    @rule(target=orders, order=orders, instrument=instruments, side=sides, price=prices, size=lots)
    def cancel_replace(self, order: tuple[int, int], instrument: int, side: str, price: int, size: int) -> Any:
        made = command("CANCEL_REPLACE", account=order[0], order_id=order[1], instrument=instrument, side=side)
        made.price_ticks, made.order_lots = price, size
        return self.send(made)

    @rule(account=accounts, instrument=st.integers(-1, 2))
    def cancel_all(self, account: int, instrument: int) -> None:
        self.send(command("CANCEL_ALL", account=account, instrument=instrument))

    @rule(
        account=accounts,
        asset=st.integers(0, 2),
        amount=st.sampled_from([1, 2_000, 150_000]),
        kind=st.sampled_from(["DEPOSIT", "WITHDRAW"]),
    )
    def move_money(self, account: int, asset: int, amount: int, kind: str) -> None:
        self.send(command(kind, account=account, asset=asset, amount=amount))

    @rule(tier=st.integers(0, 2), maker=st.integers(0, 100_000), taker=st.integers(0, 100_000))
    def change_fees(self, tier: int, maker: int, taker: int) -> None:
        self.send(command("SET_TIER_FEES", tier=tier, instrument=-1, maker_rate=maker, taker_rate=taker))

    @rule(instrument=instruments, status=st.sampled_from(["OPEN", "OPEN", "HALTED", "CANCEL_ONLY"]))
    def change_instrument(self, instrument: int, status: str) -> None:
        self.send(command("SET_INSTRUMENT_STATUS", instrument=instrument, status=status))


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
