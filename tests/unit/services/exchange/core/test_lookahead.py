"""Looking ahead: it changes nothing, whatever the commands name."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from fauxchange.platform.compiler import compile_kernel
from fauxchange.services.exchange.core import commands as ask
from fauxchange.services.exchange.core.engine import Engine, interpreted, stamp
from fauxchange.services.exchange.core.layout import Rows
from fauxchange.services.exchange.core.vocabulary import CommandKind, EventKind, Side

ODD = (-(2**63), -(2**33), -1, 1, 2**33, 2**48, 2**63 - 1)
NAMED = ("account", "instrument", "order_id", "side", "price_ticks")


def setup() -> list[Rows]:
    funds = [ask.deposit(account, asset, 10**9) for account in (3, 4) for asset in (0, 1)]
    orders = [ask.place(3, 0, Side.SELL, price_ticks=100 + number, order_lots=5) for number in range(3)]
    founding = [ask.create_asset(), ask.create_asset(), ask.create_account(), ask.create_account()]
    return [*founding, ask.create_instrument(0, 1), *funds, *orders]


def odd_commands() -> Rows:
    """Return commands of traders of each kind, with one thing out of all bounds each, and plain orders between them."""
    rows = []
    for kind, name, value in product(range(CommandKind.PLACE, CommandKind.EXPIRE + 1), NAMED, ODD):
        row = ask.place(3, 0, Side.BUY, price_ticks=100, order_lots=1)
        row["kind"] = kind
        if kind != CommandKind.PLACE:
            row["order_id"] = 2
        row[name] = value
        rows += [row, ask.place(4, 0, Side.BUY, price_ticks=100, order_lots=1)]
    return stamp([*setup(), *rows], first_sequence=1, ts_ns=0)


@pytest.mark.parametrize("compiler", [interpreted, compile_kernel])
def test_commands_that_name_what_there_is_not_answer_as_they_do_alone(compiler: Callable[[Any], Any]) -> None:
    commands = odd_commands()
    at_once, alone = Engine(compiler=compiler), Engine(compiler=compiler)

    events = at_once.apply(commands)
    each = [alone.apply(commands[row : row + 1]) for row in range(len(commands))]

    assert events.tobytes() == b"".join(part.tobytes() for part in each)
    assert {EventKind.COMMAND_REJECTED, EventKind.ORDER_REJECTED, EventKind.TRADE} <= set(events["kind"].tolist())


@pytest.mark.parametrize("compiler", [interpreted, compile_kernel])
def test_what_was_seen_may_be_gone_or_lie_elsewhere_when_its_command_comes(compiler: Callable[[Any], Any]) -> None:
    # Orders rest at levels that go and come back while the tables grow under a long run of commands.
    rows = setup()
    for number in range(300):
        rows.append(ask.place(3, 0, Side.BUY, price_ticks=1 + number % 50, order_lots=1))
        rows.append(ask.place(3 + number % 2, 0, number % 2, price_ticks=100, order_lots=2))
        if number % 7 == 0:
            rows.append(ask.cancel_all(3, 0))
    commands = stamp(rows, first_sequence=1, ts_ns=0)
    at_once, alone = Engine(compiler=compiler), Engine(compiler=compiler)

    at_once.run(commands)
    for row in range(len(commands)):
        alone.run(commands[row : row + 1])

    assert at_once.state_hash() == alone.state_hash()
