"""Random commands that mean something: few accounts, few prices, sizes that collide, and all that may go wrong."""

from random import Random
from types import SimpleNamespace
from typing import Any

from oracle.records import LARGEST, Order
from oracle.venue import ReferenceVenue

START_NS = 1_700_000_000_000_000_000
MIDDLE_TICKS = 100
TRADERS = range(3, 8)
POOR = 7
MANY = 24
"""Accounts and assets of a script at most; more of them only take time."""
"""A trader whose balances are often too small."""

FAR = (1, 2, 14, 15, 16, 17, 31, 33, 255, 256, 257, 260, 4_095, 4_096, 4_097, 20_000, 65_536)
"""Prices far from the trading, around the powers of two where a search structure has its edges."""

PLAIN = {
    "account": 0,
    "instrument": 0,
    "order_id": 0,
    "side": "BUY",
    "order_type": "LIMIT",
    "time_in_force": "GTC",
    "self_trade": "NONE",
    "post_only": False,
    "price_ticks": 0,
    "stop_ticks": 0,
    "order_lots": 0,
    "display_lots": 0,
    "quote_amount": 0,
    "expires_ns": 0,
    "refused": 0,
    "asset": 0,
    "amount": 0,
    "tier": 0,
    "maker_rate": 0,
    "taker_rate": 0,
    "status": "",
    "decimals": 8,
    "base_asset": 0,
    "quote_asset": 0,
    "tick_value": 1,
    "lot_value": 1,
    "min_lots": 1,
    "max_lots": 0,
    "min_notional": 0,
    "max_notional": 0,
    "band": 0,
    "max_open_orders": 0,
    "unfunded": False,
}
"""Every field of a command and what it is when nobody says otherwise."""


def command(kind: str, **fields: Any) -> SimpleNamespace:
    """Return a command; its time and sequence are given when it is sent."""
    unknown = set(fields) - set(PLAIN)
    if unknown:
        raise TypeError(f"a command has no {sorted(unknown)}")
    return SimpleNamespace(kind=kind, **{**PLAIN, **fields})


def opening(*, unfunded: bool = False) -> list[SimpleNamespace]:
    """Return the commands that found the venue: assets, instruments that share them, accounts, funds, fees.

    With `unfunded` the second instrument has no ledger.
    """
    market = {"min_lots": 1, "max_lots": 60, "min_notional": 40, "max_notional": 200_000}
    pairs = [(0, 1, 7, 5, 2_000, 25), (2, 1, 3, 11, 0, 40), (2, 0, 1, 2, 0, 40)]
    commands = [command("CREATE_ASSET", decimals=decimals) for decimals in (8, 8, 6)]
    commands += [
        command(
            "CREATE_INSTRUMENT",
            base_asset=base,
            quote_asset=quote,
            tick_value=tick_value,
            lot_value=lot_value,
            band=band,
            max_open_orders=most,
            unfunded=unfunded and base == 2 and quote == 1,
            **market,
        )
        for base, quote, tick_value, lot_value, band, most in pairs
    ]
    commands += [command("CREATE_ACCOUNT", tier=trader % 3) for trader in TRADERS]
    commands += [
        command("DEPOSIT", account=trader, asset=asset, amount=3_000 if trader == POOR else 200_000)
        for trader in TRADERS
        for asset in range(3)
    ]
    rates = [(0, 1_000, 2_500), (1, 0, 30_000), (2, 7_777, 100_000)]
    commands += [
        command("SET_TIER_FEES", tier=tier, instrument=-1, maker_rate=maker, taker_rate=taker)
        for tier, maker, taker in rates
    ]
    commands += [command("SET_REFERENCE_PRICE", instrument=0, price_ticks=MIDDLE_TICKS)]
    return commands


class Script:
    """A source of commands that looks at the reference venue to find orders worth touching."""

    def __init__(self, seed: int, venue: ReferenceVenue) -> None:
        self.random = Random(seed)
        self.venue = venue
        self.ts_ns = START_NS
        self.middle = MIDDLE_TICKS
        kinds = {
            self.place: 560,
            self.cancel: 60,
            self.amend: 70,
            self.replace_in_place: 50,
            self.cancel_replace: 50,
            self.cancel_all: 4,
            self.expire: 30,
            self.note: 6,
            self.move_money: 50,
            self.account_status: 20,
            self.instrument_status: 25,
            self.fees: 12,
            self.reference_price: 12,
            self.limits: 8,
            self.create: 12,
            self.nonsense: 20,
        }
        self.choices = list(kinds)
        self.weights = list(kinds.values())

    def next(self) -> SimpleNamespace:
        """Return the next command."""
        self.ts_ns += self.random.choice((0, 0, 1, 1, 5))
        if self.random.random() < 0.01:
            self.middle = max(20, self.middle + self.random.randint(-6, 6))
        (make,) = self.random.choices(self.choices, self.weights)
        made = make()
        made.ts_ns = self.ts_ns
        return made

    def price(self) -> int:
        """Return a price near the middle, where many orders meet; at times the edge of the price band."""
        if self.random.random() < 0.03:
            first = self.venue.instruments[0]
            return first.reference_ticks + self.random.choice((-1, 1)) * first.reference_ticks * first.band // 10_000
        return max(1, self.middle + self.random.randint(-7, 7))

    def expiry(self) -> int:
        """Return a moment soon after now; many orders share one."""
        return (self.ts_ns + self.random.randint(1, 60)) // 10 * 10 + 10

    def lots(self) -> int:
        """Return a size; small ones are common, so that fills end together."""
        return self.random.choice((1, 2, 2, 3, 5, 5, 8, 10, 10, 20, 50))

    def trader(self) -> int:
        """Return the account that asks."""
        if self.random.random() < 0.01:
            return self.random.randrange(len(self.venue.accounts))
        return self.random.choice(TRADERS)

    def instrument(self) -> int:
        """Return an instrument; most of the trading is in the first."""
        return self.random.choice((0, 0, 0, 1, 1, 2))

    def order(self) -> Order | None:
        """Return an open order, if there is one."""
        ids = list(self.venue.orders)
        return self.venue.orders[self.random.choice(ids)] if ids else None

    def order_id(self) -> tuple[int, int]:
        """Return an account and an order: mostly its own open one, at times finished, foreign or unknown."""
        order, chance = self.order(), self.random.random()
        if order is None or chance < 0.08:
            return self.trader(), self.random.randint(0, self.venue.last_order_id + 2)
        if chance < 0.12:
            return self.trader(), order.order_id
        return order.account, order.order_id

    # Orders

    def new_order(self) -> dict[str, Any]:
        """Return the fields of a new order of any kind."""
        rnd = self.random
        shape = rnd.choices(
            ("limit", "ioc", "post", "iceberg", "gtd", "market", "amount", "stop", "stop_limit"),
            (52, 6, 6, 14, 6, 6, 5, 7, 9),
        )[0]
        fields: dict[str, Any] = {
            "side": rnd.choice(("BUY", "SELL")),
            "order_lots": self.lots(),
            "price_ticks": self.price(),
            "self_trade": rnd.choice(("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")),
        }
        getattr(self, f"_{shape}")(fields)
        return fields

    def _limit(self, fields: dict[str, Any]) -> None:
        if self.random.random() < 0.75:  # passive, so that a book stands
            away = self.random.randint(1, 7)
            fields["price_ticks"] = max(1, self.middle + (-away if fields["side"] == "BUY" else away))
        elif self.random.random() < 0.3:
            fields |= {"price_ticks": self.random.choice(FAR), "order_lots": self.random.randint(1, 4)}
            fields["side"] = "BUY" if fields["price_ticks"] < self.middle else "SELL"

    def _ioc(self, fields: dict[str, Any]) -> None:
        fields["time_in_force"] = self.random.choice(("IOC", "FOK"))

    def _post(self, fields: dict[str, Any]) -> None:
        fields["post_only"] = True

    def _iceberg(self, fields: dict[str, Any]) -> None:
        fields["order_lots"] += self.random.randint(1, 9)
        fields["display_lots"] = self.random.randint(1, fields["order_lots"])
        fields["time_in_force"] = self.random.choice(("GTC", "GTC", "GTD"))
        if fields["time_in_force"] == "GTD":
            fields["expires_ns"] = self.expiry()

    def _gtd(self, fields: dict[str, Any]) -> None:
        fields |= {"time_in_force": "GTD", "expires_ns": self.expiry()}

    def _market(self, fields: dict[str, Any]) -> None:
        fields |= {"order_type": "MARKET", "time_in_force": self.random.choice(("IOC", "IOC", "FOK")), "price_ticks": 0}

    def _amount(self, fields: dict[str, Any]) -> None:
        amount = self.random.choice((1, 90, 699, 700, 701, 1_000, 2_112, 5_000, 20_000))
        fields |= {"order_type": "MARKET", "time_in_force": "IOC", "price_ticks": 0}
        fields |= {"order_lots": 0, "quote_amount": amount}

    def _stop(self, fields: dict[str, Any]) -> None:
        order_type = self.random.choice(("STOP", "TAKE_PROFIT"))
        fields |= {"order_type": order_type, "stop_ticks": self.price()}
        fields["time_in_force"] = self.random.choice(("GTC", "GTC", "IOC", "FOK", "GTD"))
        if fields["time_in_force"] == "GTD":
            fields["expires_ns"] = self.expiry()
        if fields["side"] == "SELL":
            fields["price_ticks"] = 0 if self.random.random() < 0.7 else max(1, fields["stop_ticks"] - 4)
        elif self.random.random() < 0.9:
            fields["price_ticks"] = fields["stop_ticks"] + self.random.randint(0, 8)

    def _stop_limit(self, fields: dict[str, Any]) -> None:
        order_type = self.random.choice(("STOP_LIMIT", "TAKE_PROFIT_LIMIT"))
        fields |= {"order_type": order_type, "stop_ticks": self.price()}
        fields["time_in_force"] = self.random.choice(("GTC", "GTC", "IOC", "FOK", "GTD"))
        if fields["time_in_force"] == "GTD":
            fields["expires_ns"] = self.expiry()

    def place(self) -> SimpleNamespace:
        """Place an order."""
        refused = int(self.random.random() < 0.01)
        return command(
            "PLACE", account=self.trader(), instrument=self.instrument(), refused=refused, **self.new_order()
        )

    def cancel(self) -> SimpleNamespace:
        """Cancel an order."""
        account, order_id = self.order_id()
        return command("CANCEL", account=account, order_id=order_id)

    def cancel_all(self) -> SimpleNamespace:
        """Cancel the orders of an account."""
        return command("CANCEL_ALL", account=self.trader(), instrument=self.random.choice((-1, 0, 1, 2)))

    def changed(self) -> dict[str, Any]:
        """Return another price and size for an open order, near those it has."""
        account, order_id = self.order_id()
        order = self.venue.orders.get(order_id)
        price, lots = (order.price_ticks, order.order_lots) if order else (self.price(), self.lots())
        if self.random.random() < 0.6:
            lots = max(0, lots + self.random.randint(-6, 4))
        if self.random.random() < 0.5:
            price = self.price()
        return {"account": account, "order_id": order_id, "price_ticks": price, "order_lots": lots}

    def amend(self) -> SimpleNamespace:
        """Amend an order."""
        return command("AMEND", **self.changed())

    def replace_in_place(self) -> SimpleNamespace:
        """Replace an order under its own id."""
        return command("REPLACE_IN_PLACE", **self.changed())

    def cancel_replace(self) -> SimpleNamespace:
        """Cancel an order and place another, both or neither."""
        account, order_id = self.order_id()
        order = self.venue.orders.get(order_id)
        instrument = order.instrument if order and self.random.random() < 0.9 else self.instrument()
        made = command("CANCEL_REPLACE", account=account, instrument=instrument, **self.new_order())
        made.order_id = order_id
        return made

    def expire(self) -> SimpleNamespace:
        """Let time pass and expire what is due."""
        self.ts_ns += self.random.randint(0, 25)
        return command("EXPIRE")

    def note(self) -> SimpleNamespace:
        """Take a number, and do nothing."""
        return command("NOTE")

    # Money and settings

    def move_money(self) -> SimpleNamespace:
        """Pay in or out; the poor get little."""
        account, asset = self.trader(), self.random.randrange(3)
        amount = self.random.choice((1, 50, 500)) if account == POOR else self.random.choice((1, 700, 9_000))
        kind = "DEPOSIT" if self.random.random() < 0.55 else "WITHDRAW"
        if kind == "WITHDRAW" and self.random.random() < 0.2:
            amount = max(1, self.venue.accounts[account].free[asset] + self.random.randint(-1, 1))
        return command(kind, account=account, asset=asset, amount=amount)

    def account_status(self) -> SimpleNamespace:
        """Suspend an account or bring it back; most commands bring back."""
        status = self.random.choices(("ACTIVE", "SUSPENDED", "CLOSED"), (9, 1, 1))[0]
        account = self.trader()
        if status == "CLOSED":
            account = self.random.randrange(len(self.venue.accounts))
        suspended = [trader for trader in TRADERS if self.venue.accounts[trader].status == "SUSPENDED"]
        if status == "ACTIVE" and suspended:
            account = suspended[0]
        return command("SET_ACCOUNT_STATUS", account=account, status=status)

    def instrument_status(self) -> SimpleNamespace:
        """Halt an instrument or open it again; most commands open."""
        status = self.random.choices(("OPEN", "HALTED", "CANCEL_ONLY"), (12, 1, 1))[0]
        instrument = self.instrument()
        closed = [number for number, each in enumerate(self.venue.instruments[:3]) if each.status != "OPEN"]
        if status == "OPEN" and closed:
            instrument = closed[0]
        return command("SET_INSTRUMENT_STATUS", instrument=instrument, status=status)

    def fees(self) -> SimpleNamespace:
        """Change the rates of a tier while orders rest."""
        maker, taker = self.random.choice((0, 500, 12_345, 100_000)), self.random.choice((0, 2_500, 99_999, 100_001))
        instrument = self.random.choice((-1, 0, 1, 2))
        return command(
            "SET_TIER_FEES", tier=self.random.randrange(3), instrument=instrument, maker_rate=maker, taker_rate=taker
        )

    def reference_price(self) -> SimpleNamespace:
        """Move the reference price to the middle of the trading."""
        return command("SET_REFERENCE_PRICE", instrument=self.instrument(), price_ticks=self.middle)

    def limits(self) -> SimpleNamespace:
        """Change the limits of an instrument."""
        return command(
            "SET_LIMITS",
            instrument=self.instrument(),
            min_lots=self.random.choice((1, 1, 1, 2)),
            max_lots=self.random.choice((45, 60)),
            min_notional=self.random.choice((0, 40, 300)),
            max_notional=self.random.choice((30_000, 200_000)),
            band=self.random.choice((0, 1_500, 2_500)),
            max_open_orders=self.random.choice((7, 12, 25)),
        )

    def create(self) -> SimpleNamespace:
        """Create an account, an asset or an instrument, at times one that exists."""
        if len(self.venue.accounts) + len(self.venue.assets) > MANY:
            return self.place()
        kind = self.random.choice(("CREATE_ACCOUNT", "CREATE_ACCOUNT", "CREATE_ASSET", "CREATE_INSTRUMENT"))
        if kind == "CREATE_INSTRUMENT":
            assets = len(self.venue.assets)
            return command(
                kind, base_asset=self.random.randint(0, assets), quote_asset=self.random.randint(0, assets), max_lots=9
            )
        return command(kind, tier=self.random.randrange(3), decimals=self.random.choice((0, 8)))

    def nonsense(self) -> SimpleNamespace:
        """Place an order with one or two fields that make no sense."""
        made = self.place()
        bad: dict[str, tuple[Any, ...]] = {
            "account": (-1, 3_000),
            "instrument": (-1, 3_000),
            "side": ("NO_SIDE",),
            "order_type": ("NO_TYPE", "MARKET", "STOP", "STOP_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
            "time_in_force": ("NO_TIME", "GTD", "FOK", "IOC"),
            "order_lots": (0, -3, LARGEST, 61),
            "price_ticks": (0, -1, LARGEST, 1, 2**40),
            "stop_ticks": (-1, 5),
            "display_lots": (-1, 1, 100),
            "expires_ns": (self.ts_ns, 1, self.ts_ns + 3),
            "quote_amount": (-1, 1_000, LARGEST),
            "post_only": (True,),
        }
        for name in self.random.sample(sorted(bad), self.random.choice((1, 1, 2))):
            setattr(made, name, self.random.choice(bad[name]))
        return made
