"""Carry out what has been stored, and follow what it changes.

The kernel decides; this module reads its events and keeps what the outside asks for: orders with their client order
ids, fills, balances, the visible books, accounts and keys. Live and in recovery the same code runs over the same
batches, so that a restarted process knows what the one before it knew.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from fauxchange.domain.listings import Listing
from fauxchange.domain.order_columns import (
    L_ACCOUNT,
    L_ASSET,
    O_ACCOUNT,
    O_INSTRUMENT,
    LedgerRows,
    RestingOrders,
)
from fauxchange.domain.orders import (
    FillRecord,
    LedgerEntry,
    OrderRecord,
    TradeRecord,
    copied,
)
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.topics import StreamMessage
from fauxchange.services.exchange.core.engine import Engine, State
from fauxchange.services.exchange.core.layout import (
    BOOK_ASKS,
    BOOK_BIDS,
    C_ACCOUNT,
    C_AMOUNT,
    C_ASSET,
    C_KIND,
    COMMAND_WIDTH,
    E_ACCOUNT,
    E_ASSET,
    E_CAUSE,
    E_CUM_LOTS,
    E_DELTA_FREE,
    E_DELTA_HELD,
    E_EVENT_SEQUENCE,
    E_INSTRUMENT,
    E_KIND,
    E_LEAVES_LOTS,
    E_LOTS,
    E_MAKER_ACCOUNT,
    E_MAKER_FEE,
    E_MAKER_LEAVES_LOTS,
    E_MAKER_ORDER_ID,
    E_ORDER_ID,
    E_ORDER_STATUS,
    E_PRICE_TICKS,
    E_REASON,
    E_REPLACED_ORDER_ID,
    E_SEQUENCE,
    E_SIDE,
    E_TAKER_FEE,
    E_TRADE_ID,
    E_TS_NS,
    H_ACCOUNTS,
    Int64Array,
    words,
)
from fauxchange.services.exchange.core.state import levels
from fauxchange.services.exchange.core.vocabulary import (
    CAUSE_RELEASE,
    CAUSE_RESERVE,
    COMMAND_DEPOSIT,
    COMMAND_NOTE,
    COMMAND_PLACE,
    COMMAND_WITHDRAW,
    EVENT_ACCOUNT_CHANGED,
    EVENT_ACCOUNT_CREATED,
    EVENT_ASSET_CREATED,
    EVENT_BALANCE,
    EVENT_BOOK,
    EVENT_FEES_CHANGED,
    EVENT_INSTRUMENT_CHANGED,
    EVENT_INSTRUMENT_CREATED,
    EVENT_ORDER_ACCEPTED,
    EVENT_ORDER_AMENDED,
    EVENT_ORDER_CANCELED,
    EVENT_ORDER_EXPIRED,
    EVENT_ORDER_REJECTED,
    EVENT_ORDER_REPLACED,
    EVENT_ORDER_TRIGGERED,
    EVENT_TRADE,
    FEE_ACCOUNT,
    HOUSE_ACCOUNT,
    ORDER_FILLED,
    ORDER_PARTIALLY_FILLED,
)
from fauxchange.services.exchange.service.background import Survey
from fauxchange.services.exchange.service.balances import Balances
from fauxchange.services.exchange.service.catalogue import Catalogue
from fauxchange.services.exchange.service.channels import (
    BookTopic,
    PrivateTopics,
    Report,
    RestingReport,
    Touched,
    TradeTopic,
    VisibleBook,
)
from fauxchange.services.exchange.service.entries import Batch, Block, Entry, Item, Note, entries_of
from fauxchange.services.exchange.service.idempotency import IdempotencyIndex
from fauxchange.services.exchange.service.live_orders import LiveOrders
from fauxchange.services.exchange.service.order_lists import OrderList
from fauxchange.services.exchange.service.projections import Projector
from fauxchange.services.exchange.service.records import background_fill, new_fill, new_order
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Balance, Origin, Transfer
from fauxchange.services.exchange.service.resting import Resting

HouseHeard = Callable[[Sequence[OrderRecord], set[str]], None]
"""Told of the house's orders that changed in a batch, and of the symbols in which one of them traded."""

_EXEC_TYPES = {
    EVENT_ORDER_ACCEPTED: "new",
    EVENT_ORDER_REJECTED: "rejected",
    EVENT_ORDER_TRIGGERED: "triggered",
    EVENT_ORDER_AMENDED: "amended",
    EVENT_ORDER_REPLACED: "replaced",
    EVENT_ORDER_CANCELED: "canceled",
    EVENT_ORDER_EXPIRED: "expired",
}
_NO_ENTRY = Entry([0] * COMMAND_WIDTH, Note(Origin("")))
"""Stands for the entry where a block has none for a command."""
_TRANSFERS = frozenset({COMMAND_DEPOSIT, COMMAND_WITHDRAW})


class Venue:
    """The state of the exchange: the kernel's, and all that is kept beside it."""

    def __init__(
        self, engine: Engine, registry: Registry, projector: Projector, *, hub: Hub, epoch: int, keep: int
    ) -> None:
        self.engine = engine
        self.registry = registry
        self._background = registry.background.numbers
        self.orders = LiveOrders()
        self.idempotent = IdempotencyIndex()
        self.hub = hub
        self.epoch = epoch
        self.sequence = 0
        self.event_sequence = 0
        self.ts_ns = 0
        self.books: list[BookTopic] = []
        self.trades: list[TradeTopic] = []
        self.house_heard: HouseHeard | None = None
        self.flow_heard: Callable[[Int64Array, Int64Array], None] | None = None
        """Told the commands and events of every batch, which are valid during the call."""
        self.expiring: Callable[[int], None] | None = None
        self.live = False
        """Whether anybody listens: streams are fed and the house is told only then."""
        self._projector = projector
        projector.document, projector.stored = self.document, self.orders.forget_stored
        self._keep = keep
        self._private: dict[int, PrivateTopics] = {}
        self._balances = Balances(registry)
        # What one batch has changed so far.
        self._messages: list[StreamMessage] = []
        self._touched: defaultdict[int, Touched] = defaultdict(_untouched)
        self._survey: Survey | None = None
        self._resting: Resting | None = None
        self._moved: dict[int, set[int]] = {}
        self._house: dict[int, OrderRecord] = {}
        self._hit: set[str] = set()
        self._block_handlers: dict[int, Callable[[list[int], Entry], None]] = {
            EVENT_ORDER_TRIGGERED: self._changed,
            EVENT_ORDER_CANCELED: self._ended,
            EVENT_ORDER_EXPIRED: self._ended,
            EVENT_TRADE: self._traded,
            EVENT_BALANCE: self._posted,
        }
        """For what a block does to others' orders; it places none for them."""
        self._catalogue = Catalogue(
            registry, projector, opened=self._open_market, reopened=lambda listing: self._hit.add(listing.symbol)
        )
        self._handlers: dict[int, Callable[[list[int], Entry], None]] = {
            EVENT_ORDER_ACCEPTED: self._accepted,
            EVENT_ORDER_REJECTED: self._rejected,
            EVENT_ORDER_TRIGGERED: self._changed,
            EVENT_ORDER_AMENDED: self._changed,
            EVENT_ORDER_REPLACED: self._changed,
            EVENT_ORDER_CANCELED: self._ended,
            EVENT_ORDER_EXPIRED: self._ended,
            EVENT_TRADE: self._traded,
            EVENT_BALANCE: self._posted,
            EVENT_BOOK: self._showed,
            EVENT_ACCOUNT_CREATED: self._catalogue.account_created,
            EVENT_ACCOUNT_CHANGED: self._catalogue.account_changed,
            EVENT_ASSET_CREATED: self._catalogue.asset_created,
            EVENT_INSTRUMENT_CREATED: self._catalogue.instrument_created,
            EVENT_INSTRUMENT_CHANGED: self._catalogue.instrument_changed,
            EVENT_FEES_CHANGED: self._catalogue.fees_changed,
        }

    # Beginning

    def take_up(self, sequence: int, event_sequence: int, ts_ns: int) -> None:
        """Read balances and books from the kernel's state: what follows is kept up from its events."""
        self.sequence, self.event_sequence, self.ts_ns = sequence, event_sequence, ts_ns
        state = self.engine.state
        self._balances.take_up(state)
        for listing in self.registry.listings:
            self._open_market(listing)
        for topic in self.books:
            _fill_book(topic.book, state, ts_ns)

    def _open_market(self, listing: Listing) -> None:
        self.books.append(BookTopic(VisibleBook(listing), epoch=self.epoch, keep=self._keep))
        self.trades.append(TradeTopic(listing, epoch=self.epoch, keep=self._keep))

    # Carrying out

    def replay(self, matrix_rows: Any, last_sequence: int) -> None:
        """Let the kernel alone carry out commands whose outcome is stored already."""
        self.engine.run(matrix_rows)
        self.sequence = last_sequence

    def process(self, batch: Batch) -> None:
        """Carry out a batch and follow what it changes; each entry gets its events."""
        count = self.engine.run(batch.rows)
        written = words(self.engine.written(count))
        at, sequence = 0, batch.first_sequence
        for part in batch.parts():
            sequence += len(part)
            over = int(np.searchsorted(written[:, E_SEQUENCE], sequence))
            if isinstance(part, Block):
                self._follow_block(part, written[at:over])
            elif isinstance(part, OrderList):
                self._follow_list(part, written[at:over])
            else:
                self._follow(part, batch, written[at:over])
            at = over
        self.sequence, self.ts_ns = batch.last_sequence, batch.ts_ns
        if count:
            self.event_sequence = int(written[-1, E_EVENT_SEQUENCE])
        if self.flow_heard is not None and self.live:
            self.flow_heard(batch.matrix, written)
        self._tell()

    def _follow(self, entries: Sequence[Entry], batch: Batch, written: Int64Array) -> None:
        """Follow the events of commands that stand side by side."""
        bounds = self._handle(entries, written)
        self._projector.record(entries, batch, written, bounds)

    def _handle(self, entries: Sequence[Entry], written: Int64Array) -> list[int]:
        """Handle the events of commands one by one; return where those of each begin, and where the last ends."""
        first_sequence = entries[0].sequence
        events: list[list[int]] = written.tolist()
        count = len(events)
        handler_of = self._handlers.get
        bounds = [0]
        at = 0
        for sequence, entry in enumerate(entries, first_sequence):
            begun = at
            while at < count and (event := events[at])[E_SEQUENCE] == sequence:
                at += 1
                handler = handler_of(event[E_KIND])
                if handler is not None:
                    handler(event, entry)
            entry.events = events[begun:at]
            bounds.append(at)
            kind = entry.row[C_KIND]
            if kind == COMMAND_PLACE:
                # What most commands are; no more is to be known of them than their events tell.
                continue
            if kind == COMMAND_NOTE:
                self._catalogue.noted(entry)
            elif kind in _TRANSFERS:
                self._transferred(entry)
            if entry.note.idempotency_key is not None:
                self.idempotent.remember(entry.note.idempotency_key, entry)
        return bounds

    def _follow_list(self, orders: OrderList, written: Int64Array) -> None:
        """Follow the events of plain orders: of those that rest in columns, of the others one by one."""
        if self._resting is None:
            self._resting = Resting(self.engine.compiler)
        bounds, rests = self._resting.find(written, orders.sequence, len(orders))
        turns = [0, *(np.flatnonzero(np.diff(rests)) + 1).tolist(), len(orders)]
        for begun, end in pairwise(turns):
            part = written[bounds[begun] : bounds[end]]
            if rests[begun]:
                self._rest(self._resting, orders, begun, end, part)
            else:
                entries = entries_of(orders, begun, end)
                self._handle(entries, part)
                orders.entries.update(enumerate(entries, begun))
        self._projector.record_list(orders, written, bounds.tolist())
        if orders.failure is not None:
            # Nobody is told any more, who would let go of it then.
            orders.forget()

    def _rest(self, resting: Resting, orders: OrderList, begun: int, end: int, written: Int64Array) -> None:
        """Follow orders that rest."""
        registry = self.registry
        fingerprints = orders.fingerprints[begun:end]
        numbers, rows, shown = resting.follow(orders.matrix[begun:end], written, fingerprints, self._balances.funds)
        run = RestingOrders(numbers, tuple(orders.names[begun:end]), registry.symbols)
        postings = LedgerRows(rows, registry.asset_names)
        orders.add_run(begun, run)
        self.orders.rest(run)
        self._projector.resting.append(run)
        self._projector.postings.append(postings)
        for number, side, price_ticks, lots in shown:
            self._touched[number][side][price_ticks] = lots
        if self._private:
            self._report_resting(run, postings)

    def _report_resting(self, orders: RestingOrders, postings: LedgerRows) -> None:
        """Tell accounts that follow their orders and balances of orders that rest."""
        columns = orders.numbers[:, [O_ACCOUNT, O_INSTRUMENT]].tolist()
        for order_id, (account, number) in enumerate(columns, orders.first_order_id):
            private = self._private.get(account)
            if private is not None:
                report = RestingReport(orders.single(order_id), self.registry.listings[number])
                self._messages.append(private.report(report))
        for account, asset in dict.fromkeys(map(tuple, postings.numbers[:, [L_ACCOUNT, L_ASSET]].tolist())):
            if account in self._private:
                self._moved.setdefault(account, set()).add(asset)

    def _follow_block(self, block: Block, events: Int64Array) -> None:
        """Follow what a block of the background order flow has changed for everybody and for others."""
        block.events = events
        if self._survey is None:
            self._survey = Survey(self.registry.background, self.engine.compiler)
        seen = self._survey.of(events)
        for event in seen.followed:
            handler = self._block_handlers.get(event[E_KIND])
            if handler is not None:
                handler(event, _NO_ENTRY)
        touched = self._touched
        for asset, amount in seen.fees:
            self._balances.funds(FEE_ACCOUNT, asset)[0] += amount
        for number, side, price_ticks, lots in seen.shown:
            touched[number][side][price_ticks] = lots
        self._projector.record_block(block, events, seen.told)

    def drop(self, entries: Sequence[Item]) -> None:
        """Give back the client order ids of entries that were not stored and never will be."""
        for entry in entries:
            if isinstance(entry, Block):
                continue
            if isinstance(entry, OrderList):
                for index, name in enumerate(entry.names):
                    if name is not None:
                        self.orders.release(entry.account(index), name, entry)
                continue
            if entry.note.client_order_id is not None:
                self.orders.release(entry.account, entry.note.client_order_id, entry)
            if entry.note.idempotency_key is not None:
                self.idempotent.under_way.discard(entry.note.idempotency_key)

    def document(self) -> dict[str, Any]:
        """Return what is stored beside the read models' position, for `restore`."""
        return {**self.registry.document(), "idempotency": self.idempotent.document()}

    def _tell(self) -> None:
        messages = self._messages
        for number, touched in self._touched.items():
            messages.append(self.books[number].change(touched, self.ts_ns))
        for account, assets in self._moved.items():
            changed = [self.balance(account, asset) for asset in sorted(assets)]
            messages.append(self._private[account].changed(changed))
        self._touched.clear()
        self._moved = {}
        if not self.live:
            self._messages = []
            self._house, self._hit = {}, set()
            return
        if messages:
            self._messages = []
            self.hub.publish(messages)
        if (self._house or self._hit) and self.house_heard is not None:
            changed_orders, hit = list(self._house.values()), self._hit
            self._house, self._hit = {}, set()
            self.house_heard(changed_orders, hit)

    # Orders

    def _accepted(self, event: list[int], entry: Entry) -> None:
        if event[E_ACCOUNT] in self._background:
            return
        listing = self.registry.listings[event[E_INSTRUMENT]]
        record = new_order(event, entry, listing, event[E_ORDER_STATUS])
        record.replaces = event[E_REPLACED_ORDER_ID]
        entry.result = record
        self.orders.add(record)
        if record.expires_ns and self.expiring is not None:
            self.expiring(record.expires_ns)
        self._report(event[E_KIND], record, listing)

    def _rejected(self, event: list[int], entry: Entry) -> None:
        number = event[E_INSTRUMENT]
        if event[E_ORDER_ID] == 0 or not 0 <= number < len(self.registry.listings):
            return
        if event[E_ACCOUNT] in self._background:
            return
        listing = self.registry.listings[number]
        record = new_order(event, entry, listing, event[E_ORDER_STATUS])
        entry.result = record
        self.orders.add(record)
        self.orders.finish(record)
        self._report(event[E_KIND], record, listing)

    def _changed(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        if event[E_ACCOUNT] in self._background:
            return
        record = self.orders[event[E_ORDER_ID]]
        record.price_ticks = event[E_PRICE_TICKS]
        record.order_lots = event[E_LOTS]
        record.cum_lots = event[E_CUM_LOTS]
        record.leaves_lots = event[E_LEAVES_LOTS]
        record.status = event[E_ORDER_STATUS]
        if event[E_KIND] == EVENT_ORDER_TRIGGERED:
            record.triggered = True
        self._stamp(record, event)
        self._report(event[E_KIND], record, self.registry.listings[event[E_INSTRUMENT]])

    def _ended(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        if event[E_ACCOUNT] in self._background:
            return
        record = self.orders[event[E_ORDER_ID]]
        record.order_lots = event[E_LOTS]
        record.cum_lots = event[E_CUM_LOTS]
        record.leaves_lots = 0
        record.status = event[E_ORDER_STATUS]
        record.reason = event[E_REASON]
        self._stamp(record, event)
        self.orders.finish(record)
        self._report(event[E_KIND], record, self.registry.listings[event[E_INSTRUMENT]])

    def _traded(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        listing = self.registry.listings[event[E_INSTRUMENT]]
        price, lots, trade_id = event[E_PRICE_TICKS], event[E_LOTS], event[E_TRADE_ID]
        of_taker, of_maker = event[E_ACCOUNT] in self._background, event[E_MAKER_ACCOUNT] in self._background
        if not of_maker:
            maker = self.orders[event[E_MAKER_ORDER_ID]]
        if not of_taker:
            taker = self.orders[event[E_ORDER_ID]]
            taker.status = event[E_ORDER_STATUS]
            taker.leaves_lots = event[E_LEAVES_LOTS]
            taker.cum_lots = event[E_CUM_LOTS]
            if taker.amount:
                taker.order_lots = taker.cum_lots
            self._filled(event, taker, listing, event[E_TAKER_FEE], is_maker=False)
        elif not of_maker:
            # The history of trades has those of which one side is somebody's, each as its taker's fill.
            self._projector.fills.append(background_fill(event, listing))
        if not of_maker:
            maker.leaves_lots = event[E_MAKER_LEAVES_LOTS]
            maker.cum_lots = maker.order_lots - maker.leaves_lots
            maker.status = ORDER_PARTIALLY_FILLED if maker.leaves_lots else ORDER_FILLED
            self._filled(event, maker, listing, event[E_MAKER_FEE], is_maker=True)
        trade = TradeRecord(
            trade_id=trade_id,
            symbol=listing.symbol,
            side=event[E_SIDE],
            price_ticks=price,
            lots=lots,
            ts_ns=event[E_TS_NS],
        )
        self._messages.append(self.trades[listing.number].traded(trade))

    def _filled(self, event: list[int], record: OrderRecord, listing: Listing, fee: int, *, is_maker: bool) -> None:
        price, lots = event[E_PRICE_TICKS], event[E_LOTS]
        record.cum_quote += price * lots * listing.tick_value
        record.fee += fee
        self._stamp(record, event)
        fill = new_fill(event, record, fee, is_maker=is_maker)
        self._projector.fills.append(fill)
        if record.account != HOUSE_ACCOUNT:
            self.orders.add_fill(fill)
        else:
            self._hit.add(listing.symbol)
        # One by quote amount counts as filled with each trade; where it is not, it ends by a word of its own.
        if record.status == ORDER_FILLED:
            self.orders.finish(record)
        self._report(EVENT_TRADE, record, listing, fill)

    def _stamp(self, record: OrderRecord, event: list[int]) -> None:
        record.updated_ns = event[E_TS_NS]
        record.event_sequence = event[E_EVENT_SEQUENCE]

    def _report(self, kind: int, record: OrderRecord, listing: Listing, fill: FillRecord | None = None) -> None:
        self._projector.orders[record.order_id] = record
        if record.account == HOUSE_ACCOUNT:
            self._house[record.order_id] = record
            return
        private = self._private.get(record.account)
        if private is not None:
            # The order goes on changing; the report tells how it stood now.
            report = Report(_EXEC_TYPES.get(kind, "trade"), copied(record), listing, fill)
            self._messages.append(private.report(report))

    # Money and books

    def _posted(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        account, asset, cause = event[E_ACCOUNT], event[E_ASSET], event[E_CAUSE]
        if account in self._background:
            # What they have is in the kernel's state.
            return
        funds = self._balances.funds(account, asset)
        delta_free, delta_held = event[E_DELTA_FREE], event[E_DELTA_HELD]
        funds[0] += delta_free
        funds[1] += delta_held
        if account in self._private:
            self._moved.setdefault(account, set()).add(asset)
        if account == HOUSE_ACCOUNT and cause in {CAUSE_RESERVE, CAUSE_RELEASE}:
            # Its quotes move all the time; what they reserve is in the audit trail, and would be most of the ledger.
            return
        if account == FEE_ACCOUNT and event[E_ORDER_ID] not in self.orders:
            # The fee of a background order.
            return
        self._projector.ledger.append(
            LedgerEntry(
                event_sequence=event[E_EVENT_SEQUENCE],
                sequence=event[E_SEQUENCE],
                ts_ns=event[E_TS_NS],
                account=account,
                asset=self.registry.assets[asset].name,
                delta_free=delta_free,
                delta_held=delta_held,
                cause=cause,
                order_id=event[E_ORDER_ID],
                free=funds[0],
                held=funds[1],
            )
        )

    def _showed(self, event: list[int], entry: Entry) -> None:  # noqa: ARG002 - handlers are called alike
        self._touched[event[E_INSTRUMENT]][event[E_SIDE]][event[E_PRICE_TICKS]] = event[E_LOTS]

    def _transferred(self, entry: Entry) -> None:
        row = entry.row
        for event in entry.events:
            if event[E_KIND] == EVENT_BALANCE and event[E_ACCOUNT] == row[C_ACCOUNT]:
                balance = self.balance(row[C_ACCOUNT], row[C_ASSET])
                entry.result = Transfer(
                    transfer_id=event[E_EVENT_SEQUENCE],
                    account=row[C_ACCOUNT],
                    asset=balance.asset,
                    amount=row[C_AMOUNT],
                    free=balance.free,
                    held=balance.held,
                    ts_ns=entry.ts_ns,
                )

    def balance(self, account: int, asset: int) -> Balance:
        """Return what an account has of an asset."""
        return self._balances.balance(account, asset, self.engine.state)

    def balances_of(self, account: int) -> list[Balance]:
        """Return an account's balances that are not zero."""
        every = [self.balance(account, asset.number) for asset in self.registry.assets]
        return [balance for balance in every if balance.free or balance.held]

    @property
    def account_count(self) -> int:
        """How many accounts there are, the venue's own among them."""
        return int(self.engine.state.memory[H_ACCOUNTS])

    def private_topics(self, account: int) -> PrivateTopics:
        """Return the private channels of an account, made now if it never asked before."""
        topics = self._private.get(account)
        if topics is None:
            listing_of = self.registry.listing
            topics = self._private[account] = PrivateTopics(
                epoch=self.epoch,
                open_orders=lambda: [
                    (copied(record), listing_of(record.symbol)) for record in self.orders.open_orders(account)
                ],
                balances=lambda: self.balances_of(account),
                asset=self.registry.asset,
            )
        return topics


def _untouched() -> Touched:
    return {}, {}


def _fill_book(book: VisibleBook, state: State, ts_ns: int) -> None:
    book.ts_ns = ts_ns
    for side, which in ((0, BOOK_BIDS), (1, BOOK_ASKS)):
        for price_ticks, shown, _, _ in levels(state, book.listing.number, which).tolist():
            book.put(side, price_ticks, shown)
