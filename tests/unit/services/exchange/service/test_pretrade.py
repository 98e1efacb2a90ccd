"""A user's own rules: how they are found, asked and survived."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from exchange_kit import Exchange, order
from structlog.testing import capture_logs

from fauxchange.data.memory.adapter import MemoryDataAdapter
from fauxchange.domain.errors import ConfigurationError
from fauxchange.services.exchange.ports import AccountView
from fauxchange.services.exchange.service.pretrade import PreTrade, account_view, load_check

RULES = """
from fauxchange.services.exchange.ports import AccountView

seen = []

def agrees(account, order):
    seen.append((account, order))
    order.symbol = "changed by a rule"

def refuses(account, order):
    return "not_on_sundays"

def raises(account, order):
    raise RuntimeError("no such luck")

def mumbles(account, order):
    return "Not on Sundays!"

class Counting:
    def __init__(self):
        self.asked = 0

    def __call__(self, account, order):
        self.asked += 1
        return "only_once" if self.asked > 1 else None

class Demanding:
    def __init__(self, limit):
        pass

async def waits(account, order):
    return None

def takes_one(account):
    return None

number = 7
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the name of a module of rules in the current folder."""
    # A module is imported once in a process, so each test has one of its own.
    name = f"rules_of_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(RULES)
    (tmp_path / f"{name}_broken.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / f"{name}_failing.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return name


@pytest.fixture
async def exchange() -> Exchange:
    data = MemoryDataAdapter()
    await data.connect()
    return await Exchange(data).start()


async def test_an_order_passes_where_every_rule_agrees(exchange: Exchange, rules: str) -> None:
    account = await exchange.account(USD="1000")
    request = order("buy", "0.01", "50")

    verdict = PreTrade([f"{rules}:agrees"], exchange.service).check(account, request)

    assert verdict is None
    assert request.symbol == "BTC/USD"


async def test_the_first_rule_that_refuses_decides(exchange: Exchange, rules: str) -> None:
    account = await exchange.account()
    checks = PreTrade([f"{rules}:agrees", f"{rules}:refuses", f"{rules}:raises"], exchange.service)

    assert checks.check(account, order("buy", "1", "50")) == "not_on_sundays"


@pytest.mark.parametrize("rule", ["raises", "mumbles"])
async def test_a_broken_rule_refuses_and_is_logged_once(exchange: Exchange, rules: str, rule: str) -> None:
    account = await exchange.account()
    checks = PreTrade([f"{rules}:{rule}"], exchange.service)

    with capture_logs() as log:
        verdicts = [checks.check(account, order("buy", "1", "50")) for _ in range(3)]

    assert verdicts == ["pre_trade_check_failed"] * 3
    assert [(entry["event"], entry["rule"]) for entry in log] == [("pre_trade_check_broken", f"{rules}:{rule}")]


async def test_a_class_of_rules_is_made_once(exchange: Exchange, rules: str) -> None:
    account = await exchange.account()
    checks = PreTrade([f"{rules}:Counting"], exchange.service)

    assert [checks.check(account, order("buy", "1", "50")) for _ in range(2)] == [None, "only_once"]


async def test_rules_see_what_the_account_has_and_what_it_has_open(exchange: Exchange) -> None:
    account = await exchange.account(USD="1000", BTC="2")
    placed = (await exchange.place(account, "sell", "0.5", "50000")).order

    view = account_view(exchange.service, account)

    assert isinstance(view, AccountView)
    assert (view.account_id, view.name, view.tier) == (str(account), "somebody", 0)
    assert (view.free["USD"], view.free["BTC"], view.held["BTC"]) == ("1000.00000000", "1.50000000", "0.50000000")
    assert [record.order_id for record in view.open_orders] == [placed.order_id]
    assert view.open_orders[0] is not placed


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        (":nothing", "has no nothing"),
        (":number", "cannot be called"),
        (":takes_one", "does not take an account and an order"),
        (":waits", "is a coroutine"),
        (":Demanding", r"Demanding\(\) failed: TypeError"),
        ("_broken:agrees", "there is no module|importing .* failed: No module named 'a_module_that_is_not_there'"),
        ("_failing:agrees", "ZeroDivisionError"),
        ("_missing:agrees", "there is no module rules_of_.*_missing"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named_at_the_start(rules: str, attribute: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"PRE_TRADE_CHECKS: {rules}.*: .*({problem})"):
        load_check(f"{rules}{attribute}")


def test_without_rules_nobody_is_asked() -> None:
    nobody = SimpleNamespace()

    assert PreTrade((), nobody).check(3, order("buy", "1", "50")) is None  # type: ignore[arg-type]  # it is not used
