"""Render what the service answers as protobuf, by way of the messages that REST renders too."""

from fauxchange.contracts.exchange import proto, render
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.domain.errors import FauxchangeError, Rejected
from fauxchange.domain.orders import FillRecord, KeyRecord, OrderRecord
from fauxchange.services.exchange.service.api import ExchangeApi
from fauxchange.services.exchange.service.requests import Outcome, Placement, Transfer


class Rendering:
    """What a record needs to become a message: its instrument, its asset, its fills."""

    def __init__(self, service: ExchangeApi) -> None:
        self._service = service
        self.resting_results = proto.RestingResults(service.listing_of).elements

    def order(self, placement: Placement) -> pb.Order:
        """Return an order with its fills."""
        record = placement.order
        return proto.order(render.order_message(record, self._service.listing_of(record.symbol), placement.fills))

    def listed_order(self, record: OrderRecord) -> pb.Order:
        """Return an order of a list, with the fills that are known of it."""
        return self.order(Placement(record, self._service.fills_in_memory(record.order_id)))

    def fill(self, fill: FillRecord) -> pb.Fill:
        """Return a fill."""
        return proto.fill(render.fill_message(fill, self._service.listing_of(fill.symbol)))

    def refusal(self, failure: FauxchangeError) -> pb.Refusal:
        """Return why something was refused."""
        return proto.refusal(render.refusal_message(failure), failure.retry_after_s)

    def result(self, outcome: Outcome) -> tuple[pb.Order | None, pb.Refusal | None, bool]:
        """Return what came of one order of several: the order, a refusal, and whether it is a repetition's."""
        placement, failure = outcome.placement, outcome.failure
        if placement is not None:
            refusal = proto.refusal(render.rejection_message(placement.order.reason)) if placement.refused else None
            return self.order(placement), refusal, placement.repeated
        order = None
        if isinstance(failure, Rejected) and isinstance(failure.order, OrderRecord):
            order = self.listed_order(failure.order)
        return order, None if failure is None else self.refusal(failure), False

    async def balances(self, account: int) -> pb.Balances:
        """Return an account's balances."""
        return pb.Balances(
            account_id=str(account),
            balances=[
                proto.balance(render.balance_message(balance, self._service.asset(balance.asset)))
                for balance in await self._service.current_balances(account)
            ],
        )

    def transfer(self, transfer: Transfer) -> pb.Transfer:
        """Return a deposit or a withdrawal."""
        return proto.transfer(render.transfer_message(transfer, self._service.asset(transfer.asset)))


def api_key(key: KeyRecord) -> pb.ApiKey:
    """Return an API key, without its secret."""
    return proto.api_key(render.key_message(key))
