"""The kernel and the reference venue side by side: the same commands, and nothing that differs."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType, SimpleNamespace
from typing import Any

from oracle.invariants import Invariants
from oracle.reading import Reader
from oracle.rows import COMPARED, Translator
from oracle.scripts import Script, opening
from oracle.venue import ReferenceVenue

CORE = "fauxchange.services.exchange.core"


@dataclass(frozen=True)
class Kernel:
    """One kernel package: the real one, or a copy with a bug in it."""

    engine: ModuleType
    layout: ModuleType
    vocabulary: ModuleType
    memory: ModuleType

    @classmethod
    def of(cls, package: str = CORE) -> "Kernel":
        """Import the parts of a kernel package."""
        return cls(*(import_module(f"{package}.{name}") for name in ("engine", "layout", "vocabulary", "memory")))


class Lockstep:
    """Sends each command to both and compares what they say and what they own."""

    def __init__(
        self, kernel: Kernel, compiler: Any, *, venue: ReferenceVenue | None = None, quiet: bool = False
    ) -> None:
        # Little room at first, so that every table outgrows its own in the middle of things.
        rooms = kernel.memory.Rooms(assets=4, accounts=4, instruments=4, orders=4, levels=4, nodes=4)
        state = kernel.engine.new_state(rooms=rooms, balance_events=not quiet, book_events=not quiet)
        self.engine = kernel.engine.Engine(state=state, compiler=compiler)
        self.quiet = quiet
        """The kernel tells neither postings nor levels."""
        self.venue = venue or ReferenceVenue()
        self.translator = Translator(kernel.layout, kernel.vocabulary)
        self.words = kernel.layout.words
        self.reader = Reader(kernel.layout)
        self.invariants = Invariants(self.translator, kernel.vocabulary, quiet=quiet)
        self.sequence = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.shown: dict[tuple[int, str], dict[int, int]] = defaultdict(dict)
        """The book as the events tell it."""

    def send(self, command: SimpleNamespace, *, whole: bool = False) -> list[dict[str, Any]]:
        """Send a command to both and compare; with `whole` also every open order and every queue.

        Raises: AssertionError if anything differs
        """
        self.sequence += 1
        row = self.translator.row(command, self.sequence)
        count = self.engine.run(row)
        rows = self.words(self.engine.written(count)).tolist()
        expected = self.venue.apply(command)
        told = self.translator.told(rows)
        wanted = [{name: event[name] for name in ("kind", *COMPARED[event["kind"]])} for event in expected]
        assert told == wanted, difference(told, wanted)
        picture = self.reader.picture(self.engine.state.memory)
        self.invariants.check(self.sequence, command, rows, picture)
        self.compare_balances(picture)
        self.follow_book(rows)
        if whole:
            self.compare_books(picture)
        for event in wanted:
            self.counts[event["kind"], event.get("reason", "")] += 1
        return wanted

    def compare_balances(self, picture: Any) -> None:
        """Compare what every account owns."""
        assets = range(len(self.venue.assets))
        free = [[account.free.get(asset, 0) for asset in assets] for account in self.venue.accounts]
        held = [[account.held.get(asset, 0) for asset in assets] for account in self.venue.accounts]
        assert picture.free == free, f"free: the kernel has {picture.free}, the reference {free}"
        assert picture.held == held, f"held: the kernel has {picture.held}, the reference {held}"

    def follow_book(self, rows: list[list[int]]) -> None:
        """Keep the levels that the events tell."""
        columns = self.translator.event_columns
        for row in rows:
            if self.translator.kinds[row[columns["kind"]]] == "BOOK":
                side = self.translator.field(row, "side")
                level = self.shown[row[columns["instrument"]], side]
                level[row[columns["price_ticks"]]] = row[columns["level_lots"]]

    def compare_books(self, picture: Any) -> None:
        """Compare every queue, every open order and the levels that were told."""
        for number, instrument in enumerate(self.venue.instruments):
            for side in ("BUY", "SELL"):
                queue = [order for order in instrument.resting if order.side == side]
                queue.sort(key=lambda order: order.price_ticks if order.side == "SELL" else -order.price_ticks)
                wanted = [(order.price_ticks, order.order_id, order.shown_lots, order.leaves_lots) for order in queue]
                have = picture.queues[number, side]
                assert have == wanted, f"queue of {number} {side}: the kernel has {have}, the reference {wanted}"
                told = {price: lots for price, lots in self.shown[number, side].items() if lots}
                levels = instrument.levels(side)
                assert told == ({} if self.quiet else levels), (
                    f"levels of {number} {side}: told {told}, the reference has {levels}"
                )
        wanted_orders = {
            order.order_id: (order.account, order.instrument, order.price_ticks, order.order_lots, order.leaves_lots)
            for order in self.venue.orders.values()
        }
        assert picture.open_orders() == wanted_orders


def difference(told: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> str:
    """Return both lists of events as text, one event per line."""
    lines = ["the kernel says:", *map(str, told), "the reference says:", *map(str, wanted)]
    return "\n".join(lines)


def run_script(
    seed: int,
    commands: int,
    *,
    kernel: Kernel,
    compiler: Any,
    whole_every: int = 50,
    quiet: bool = False,
    unfunded: bool = False,
) -> Counter[tuple[str, str]]:
    """Run a random script against both; return how often each event and reason came.

    `quiet` leaves out the events of postings and levels, `unfunded` makes one instrument one without a ledger.

    Raises: AssertionError with the seed, the command and those before it
    """
    both = Lockstep(kernel, compiler, quiet=quiet)
    founding = opening(unfunded=unfunded)
    script = Script(seed, both.venue)
    sent = []
    for number in range(-len(founding), commands):
        command = script.next() if number >= 0 else founding[number]
        command.ts_ns = script.ts_ns
        sent.append(command)
        try:
            both.send(command, whole=number % whole_every == 0 or number == commands - 1)
        except Exception as exc:
            tail = "\n".join(shortened(each) for each in sent[-6:])
            raise AssertionError(f"seed {seed}, command {both.sequence}: {exc}\nthe last commands:\n{tail}") from exc
    return both.counts


def shortened(command: SimpleNamespace) -> str:
    """Return a command without the fields that it leaves alone."""
    return ", ".join(f"{name}={value!r}" for name, value in vars(command).items() if value not in {0, ""})
