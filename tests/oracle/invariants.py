"""Laws that hold after every command, checked by code that knows neither the kernel nor the reference venue."""

import itertools
from types import ModuleType, SimpleNamespace

from oracle.reading import Picture, Resting
from oracle.rows import Translator

TRANSIT = 2


class Invariants:
    """Checks a picture of the kernel and the events of the command before it."""

    def __init__(self, translator: Translator, vocabulary: ModuleType, *, quiet: bool = False) -> None:
        self.columns = translator.event_columns
        self.kinds = translator.kinds
        self.trade_cause = int(vocabulary.Cause.TRADE)
        self.event_sequence = 0
        self.last_trade_id = 0
        self.before: Picture | None = None
        self.quiet = quiet

    def check(self, sequence: int, command: SimpleNamespace, rows: list[list[int]], picture: Picture) -> None:
        """Check every law.

        Raises: AssertionError that names the broken one
        """
        self.events_are_gapless(sequence, command, rows)
        self.money_is_conserved(picture)
        self.held_is_what_open_orders_reserve(picture)
        self.postings_explain_balances(rows, picture)
        self.lots_make_sense(picture)
        self.book_is_in_order(picture)
        self.queues_keep_their_order(rows, picture)
        self.before = picture

    def events_are_gapless(self, sequence: int, command: SimpleNamespace, rows: list[list[int]]) -> None:
        """Check the numbers that every event carries."""
        for row in rows:
            self.event_sequence += 1
            assert row[self.columns["event_sequence"]] == self.event_sequence, "an event's number is not the next"
            assert row[self.columns["sequence"]] == sequence, "an event belongs to another command"
            assert row[self.columns["ts_ns"]] == command.ts_ns, "an event has another time than its command"
            if self.kinds[row[self.columns["kind"]]] == "TRADE":
                self.last_trade_id += 1
                assert row[self.columns["trade_id"]] == self.last_trade_id, "a trade's number is not the next"

    def money_is_conserved(self, picture: Picture) -> None:
        """Check that each asset sums to zero and that nobody but transit owes."""
        for account, (free, held) in enumerate(zip(picture.free, picture.held, strict=True)):
            assert min(held, default=0) >= 0, f"account {account} holds less than nothing"
            assert account == TRANSIT or min(free, default=0) >= 0, f"account {account} owes"
        for asset, (free, held) in enumerate(
            zip(zip(*picture.free, strict=True), zip(*picture.held, strict=True), strict=False)
        ):
            assert sum(free) + sum(held) == 0, f"asset {asset} is not conserved"

    def held_is_what_open_orders_reserve(self, picture: Picture) -> None:
        """Check `held` against the open orders, recomputed from their lots and prices."""
        held = [[0] * len(row) for row in picture.held]
        for order in picture.orders.values():
            asset, amount = reserved_by(order, picture.instruments[order.instrument])
            assert amount == order.reserved, f"order {order.order_id} reserves {order.reserved}, not {amount}"
            held[order.account][asset] += amount
        assert held == picture.held, "held is not the sum over open orders"

    def postings_explain_balances(self, rows: list[list[int]], picture: Picture) -> None:
        """Check that the ledger postings of a command lead from the balances before to those after."""
        if self.quiet:
            silent = {"BALANCE", "BOOK"} & {self.kinds[row[self.columns["kind"]]] for row in rows}
            assert not silent, f"events that nobody wants were told: {silent}"
            return
        if self.before is None:
            return
        free, held = [row.copy() for row in self.before.free], [row.copy() for row in self.before.held]
        accounts, assets = len(picture.free), len(picture.free[0])
        for balances in (free, held):
            balances += [[] for _ in range(accounts - len(balances))]
            for balance in balances:
                balance.extend([0] * (assets - len(balance)))
        for row in rows:
            if self.kinds[row[self.columns["kind"]]] == "BALANCE":
                account, asset = row[self.columns["account"]], row[self.columns["asset"]]
                free[account][asset] += row[self.columns["delta_free"]]
                held[account][asset] += row[self.columns["delta_held"]]
        assert (free, held) == (picture.free, picture.held), "the postings do not lead to the balances"

    def lots_make_sense(self, picture: Picture) -> None:
        """Check that an open order has something left, of which it shows no more than it may."""
        for order in picture.orders.values():
            assert 0 < order.leaves_lots <= order.order_lots, f"order {order.order_id} has {order.leaves_lots} left"
            most = min(order.leaves_lots, order.display_lots or order.leaves_lots)
            assert 0 <= order.shown_lots <= most, f"order {order.order_id} shows {order.shown_lots} of {most}"

    def book_is_in_order(self, picture: Picture) -> None:
        """Check that no book is crossed, that levels follow each other, and that every resting order is in one."""
        resting = 0
        for number in range(len(picture.instruments)):
            bids, asks = picture.queues[number, "BUY"], picture.queues[number, "SELL"]
            resting += len(bids) + len(asks)
            if bids and asks:
                assert bids[0][0] < asks[0][0], f"the book of {number} is crossed"
            assert all(later[0] <= earlier[0] for earlier, later in itertools.pairwise(bids))
            assert all(later[0] >= earlier[0] for earlier, later in itertools.pairwise(asks))
        assert resting == sum(order.book in {0, 1} for order in picture.orders.values())

    def queues_keep_their_order(self, rows: list[list[int]], picture: Picture) -> None:
        """Check that orders which no event names stand in their queues as they stood, ahead of those that came."""
        if self.before is None:
            return
        named = {row[self.columns[name]] for row in rows for name in self.named_by(row)}
        for key, queue in self.before.queues.items():
            if queue == picture.queues[key]:
                continue
            stayed = [order for order in queue if order[1] not in named]
            now = [order for order in picture.queues[key] if order[1] not in named]
            assert stayed == now, f"orders of {key} that nobody touched have moved"
            ids = {order[1] for order in queue}
            for earlier, later in zip(picture.queues[key], picture.queues[key][1:], strict=False):
                came = earlier[1] not in ids
                assert earlier[0] != later[0] or not came or later[1] in named, f"order {earlier[1]} jumped the queue"

    def named_by(self, row: list[int]) -> tuple[str, ...]:
        """Return the fields of an event that name orders."""
        kind = self.kinds[row[self.columns["kind"]]]
        if kind == "TRADE":
            return ("order_id", "maker_order_id")
        return ("order_id",) if kind.startswith("ORDER_") else ()


def reserved_by(order: Resting, instrument: list[int]) -> tuple[int, int]:
    """Return the asset and the amount that an order's rest must have reserved."""
    base, quote, tick_value, lot_value, unfunded = instrument[:5]
    if order.side == 1:
        return base, 0 if unfunded else order.leaves_lots * lot_value
    notional = order.leaves_lots * order.price_ticks * tick_value
    return quote, 0 if unfunded else notional + -(-notional * order.rate // 1_000_000)
