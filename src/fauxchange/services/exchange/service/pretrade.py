"""A user's own rules: every order is shown to them before it is accepted.

A rule is a function of an account and an order (`ports.PreTradeCheck`), or a class of such, named by its import path.
It returns None, or why it refuses. One that fails refuses too: an order is not let through because a rule is broken.
"""

import copy
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import structlog

from fauxchange.contracts.exchange.messages import OrderRequest
from fauxchange.domain.errors import ConfigurationError
from fauxchange.services.exchange.ports import AccountView, PreTradeCheck
from fauxchange.services.exchange.service.use_cases import UseCases

CHECK_FAILED: Final = "pre_trade_check_failed"
"""The reason of a refusal by a rule that raised, or gave a reason that is none."""
_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

log = structlog.get_logger(__name__)


class PreTrade:
    """Show orders to the rules, in their order; the first that refuses decides.

    Raises: ConfigurationError that names a rule which cannot be used
    """

    def __init__(self, paths: Sequence[str], use_cases: UseCases) -> None:
        self._checks = [(path, load_check(path)) for path in paths]
        self._use_cases = use_cases
        self._broken: set[str] = set()

    def check(self, account: int, request: OrderRequest) -> str | None:
        """Return why an order of an account is refused, None if it is not."""
        if not self._checks:
            return None
        view = account_view(self._use_cases, account)
        for path, rule in self._checks:
            try:
                # Each gets an order of its own: what a rule does to it is nobody else's business.
                reason: object = rule(view, copy.copy(request))
            except Exception as exc:
                self._tell_broken(path, f"it raised {type(exc).__name__}", exc)
                return CHECK_FAILED
            if reason is None:
                continue
            if not isinstance(reason, str) or _REASON.fullmatch(reason) is None:
                self._tell_broken(path, f"{str(reason)[:64]!r} is no reason: 1 to 64 of a-z, 0-9 and _", None)
                return CHECK_FAILED
            return reason
        return None

    def _tell_broken(self, path: str, problem: str, failure: Exception | None) -> None:
        if path not in self._broken:
            self._broken.add(path)
            log.error("pre_trade_check_broken", rule=path, problem=problem, exc_info=failure)


def account_view(use_cases: UseCases, account: int) -> AccountView:
    """Return what rules see of an account."""
    record = use_cases.registry.accounts[account]
    balances = use_cases.venue.balances_of(account)
    amounts = {balance.asset: use_cases.registry.asset(balance.asset).amounts for balance in balances}
    return AccountView(
        account_id=str(account),
        name=record.name,
        tier=record.tier,
        free={balance.asset: amounts[balance.asset].text(balance.free) for balance in balances},
        held={balance.asset: amounts[balance.asset].text(balance.held) for balance in balances},
        # Copies, because the orders go on changing and are not a rule's to change.
        open_orders=[copy.copy(order) for order in use_cases.venue.orders.open_orders(account)],
    )


def load_check(path: str) -> PreTradeCheck:
    """Return the rule at an import path; a class is made one of, without arguments.

    Modules are found as Python finds them, and in the current folder.

    Raises: ConfigurationError
    """
    module_name, _, attribute = path.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        # At the end: it adds modules and hides none.
        sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(f"{exc.name}.")):
            raise _unusable(path, f"there is no module {exc.name}") from exc
        raise _unusable(path, f"importing {module_name} failed: {exc}") from exc
    except Exception as exc:
        raise _unusable(path, f"importing {module_name} failed: {type(exc).__name__}: {exc}") from exc
    rule: object = getattr(module, attribute, None)
    if rule is None:
        raise _unusable(path, f"{module_name} has no {attribute}")
    if isinstance(rule, type):
        try:
            rule = rule()
        except Exception as exc:
            raise _unusable(path, f"{attribute}() failed: {type(exc).__name__}: {exc}") from exc
    _check_callable(path, rule)
    return cast("PreTradeCheck", rule)


def _check_callable(path: str, rule: Any) -> None:
    if not callable(rule):
        raise _unusable(path, "it cannot be called")
    if inspect.iscoroutinefunction(rule) or inspect.iscoroutinefunction(type(rule).__call__):
        raise _unusable(path, "it is a coroutine, and a rule may not wait")
    try:
        inspect.signature(rule).bind(None, None)
    except TypeError as exc:
        raise _unusable(path, "it does not take an account and an order") from exc


def _unusable(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"PRE_TRADE_CHECKS: {path} cannot be used: {problem}")
