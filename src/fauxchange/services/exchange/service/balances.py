"""What each account has of each asset, kept up from the kernel's events."""

from fauxchange.services.exchange.core.state import State, balance_of, balances
from fauxchange.services.exchange.service.registry import Registry
from fauxchange.services.exchange.service.requests import Balance

Funds = list[int]
"""What is free and what is held. Units: minor units of the asset."""


class Balances:
    """The balances of all but the background accounts, whose are in the kernel's state alone."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._funds: dict[tuple[int, int], Funds] = {}

    def take_up(self, state: State) -> None:
        """Read all balances from the kernel's state."""
        for account, of_account in enumerate(balances(state).tolist()):
            if account in self._registry.background:
                continue
            for asset, funds in enumerate(of_account):
                if funds != [0, 0]:
                    self._funds[account, asset] = funds

    def funds(self, account: int, asset: int) -> Funds:
        """Return what an account has of an asset, to be changed."""
        funds = self._funds.get((account, asset))
        if funds is None:
            funds = self._funds[account, asset] = [0, 0]
        return funds

    def balance(self, account: int, asset: int, state: State) -> Balance:
        """Return what an account has of an asset."""
        if account in self._registry.background:
            free, held = balance_of(state, account, asset)
        else:
            free, held = self._funds.get((account, asset), (0, 0))
        return Balance(self._registry.assets[asset].name, free, held)
