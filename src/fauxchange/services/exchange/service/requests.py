"""What edges and use cases say to each other: who asks, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from fauxchange.domain.errors import FauxchangeError
from fauxchange.domain.orders import ORDER_STATUSES, FillRecord, OrderRecord
from fauxchange.services.exchange.core.vocabulary import RejectReason

_REJECTED = ORDER_STATUSES.index("REJECTED")
_NO_LIQUIDITY = RejectReason.NO_LIQUIDITY.value


class Role(StrEnum):
    """What a caller may do: trade for one account, administer all, or audit."""

    TRADER = "trader"
    ADMIN = "admin"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever has proven who they are; `account` is -1 for those who have none."""

    role: Role
    account: int
    actor: str
    """How journal and trail name the caller: `key:<api_key>`, `admin`, `audit`, `house`, `clock`."""


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a command came from; it is journalled with it and told in the audit trail."""

    actor: str
    source: str = ""
    """The caller's address, without its port; empty for the venue's own commands."""
    request_id: str = ""
    trace_id: str = ""


class Placement(msgspec.Struct):
    """What came of an order: as it stands, with its fills; a rejected one says so by its status and reason.

    `repeated` says that the same request had been made before and this is its order.
    """

    order: OrderRecord
    fills: Sequence[FillRecord] = ()
    repeated: bool = False

    @property
    def refused(self) -> bool:
        """Whether nothing came of the order: it was rejected, or a market order found nothing to trade with."""
        order = self.order
        return order.status == _REJECTED or (order.reason == _NO_LIQUIDITY and order.cum_lots == 0)


class Outcome(msgspec.Struct):
    """One of a batch: a placement, or why there is none."""

    placement: Placement | None = None
    failure: FauxchangeError | None = None

    def again(self) -> "Outcome":
        """Return the same outcome for somebody who asked for the same once more."""
        if self.placement is None:
            return self
        return Outcome(Placement(self.placement.order, self.placement.fills, repeated=True))


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account has of an asset. Units: minor units of the asset."""

    asset: str
    free: int
    held: int


@dataclass(frozen=True, slots=True)
class Transfer:
    """A deposit or withdrawal that was made, and the balance after it. Units: minor units of the asset, ns."""

    transfer_id: int
    account: int
    asset: str
    amount: int
    free: int
    held: int
    ts_ns: int
