"""What administrators call: accounts, money, keys, the status of instruments."""

from fauxchange.contracts.exchange import proto, render
from fauxchange.contracts.exchange.messages import AccountRequest, KeyRequest, TransferRequest
from fauxchange.contracts.exchange.v1 import exchange_pb2 as pb
from fauxchange.data.ports import AccountQuery
from fauxchange.services.exchange.rpc.callers import Asker
from fauxchange.services.exchange.rpc.markets import instrument
from fauxchange.services.exchange.rpc.parsing import DEFAULT_LIMIT, account_status, checked, instrument_status
from fauxchange.services.exchange.rpc.rendering import Rendering, api_key
from fauxchange.services.exchange.service.api import ExchangeApi


class AccountCalls:
    """The methods of an administrator."""

    def __init__(self, service: ExchangeApi) -> None:
        self._service = service
        self._rendering = Rendering(service)

    async def create_account(self, request: pb.CreateAccountRequest, asker: Asker) -> pb.Account:
        """Create an account."""
        wanted = checked({"name": request.name, "tier": request.tier}, AccountRequest)
        record = await self._service.create_account(wanted, asker.origin, request.idempotency_key or None)
        return proto.account(render.account_message(record))

    async def get_account(self, request: pb.GetAccountRequest, asker: Asker) -> pb.Account:  # noqa: ARG002
        """Return an account."""
        return proto.account(render.account_message(self._service.account(request.account_id)))

    async def list_accounts(self, request: pb.ListAccountsRequest, asker: Asker) -> pb.ListAccountsResponse:  # noqa: ARG002
        """Return a page of accounts."""
        page = await self._service.accounts(
            AccountQuery(
                status=account_status(request.status) if request.status else None,
                limit=request.limit or DEFAULT_LIMIT,
                cursor=request.cursor or None,
            )
        )
        return pb.ListAccountsResponse(
            accounts=[proto.account(render.account_message(record)) for record in page.items],
            next_cursor=page.next_cursor or "",
        )

    async def set_account_status(self, request: pb.SetAccountStatusRequest, asker: Asker) -> pb.Account:
        """Suspend, reactivate or close an account."""
        record = await self._service.set_account_status(
            request.account_id, account_status(request.status), asker.origin
        )
        return proto.account(render.account_message(record))

    async def get_account_balances(self, request: pb.GetAccountBalancesRequest, asker: Asker) -> pb.Balances:  # noqa: ARG002
        """Return the balances of an account."""
        return await self._rendering.balances(self._service.account(request.account_id).account)

    async def deposit(self, request: pb.TransferRequest, asker: Asker) -> pb.Transfer:
        """Pay an amount in."""
        wanted = checked({"asset": request.asset, "amount": request.amount}, TransferRequest)
        return self._rendering.transfer(
            await self._service.deposit(request.account_id, wanted, asker.origin, request.idempotency_key or None)
        )

    async def withdraw(self, request: pb.TransferRequest, asker: Asker) -> pb.Transfer:
        """Pay an amount out."""
        wanted = checked({"asset": request.asset, "amount": request.amount}, TransferRequest)
        return self._rendering.transfer(
            await self._service.withdraw(request.account_id, wanted, asker.origin, request.idempotency_key or None)
        )

    async def create_key(self, request: pb.CreateKeyRequest, asker: Asker) -> pb.CreateKeyResponse:
        """Make an API key, and tell its secret this once."""
        wanted = checked({"label": request.label}, KeyRequest)
        key, secret = await self._service.create_key(request.account_id, wanted, asker.origin)
        return pb.CreateKeyResponse(key=api_key(key), api_secret=secret)

    async def list_keys(self, request: pb.ListKeysRequest, asker: Asker) -> pb.ListKeysResponse:  # noqa: ARG002
        """Return the API keys of an account."""
        return pb.ListKeysResponse(keys=[api_key(key) for key in self._service.keys(request.account_id)])

    async def revoke_key(self, request: pb.RevokeKeyRequest, asker: Asker) -> pb.ApiKey:
        """Revoke an API key."""
        return api_key(await self._service.revoke_key(request.account_id, request.api_key, asker.origin))

    async def set_instrument_status(self, request: pb.SetInstrumentStatusRequest, asker: Asker) -> pb.Instrument:
        """Open or halt an instrument, or let orders only be canceled."""
        listing = await self._service.set_instrument_status(
            request.symbol, instrument_status(request.status), asker.origin
        )
        return instrument(self._service, listing)
