"""The services that others call over gRPC, each with what may be asked of it twice."""

from fauxchange.contracts.exchange.v1 import exchange_pb2
from fauxchange.contracts.market_data.v1 import market_data_pb2
from fauxchange.platform.rpc.methods import peer_of, with_field

MARKET_DATA = peer_of(
    market_data_pb2.DESCRIPTOR.services_by_name["MarketDataService"],
    name="market-data",
    registered_name="market-data-simulator",
    reads=(
        "ListSymbols",
        "GetPrice",
        "ListPrices",
        "GetPriceHistory",
        "GetCandles",
        "GetSnapshot",
        "StreamPrices",
        "StreamCandles",
        "StreamScenarios",
    ),
)

EXCHANGE = peer_of(
    exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"],
    name="exchange",
    registered_name="exchange-simulator",
    reads=(
        "GetOrder",
        "ListOrders",
        "ListFills",
        "GetBalances",
        "ListLedger",
        "ListInstruments",
        "GetBook",
        "ListTrades",
        "GetAccount",
        "ListAccounts",
        "GetAccountBalances",
        "ListKeys",
        "StreamBook",
        "StreamTrades",
        "StreamOrders",
        "StreamBalances",
    ),
    keyed={
        "PlaceOrder": with_field("client_order_id"),
        "PlaceOrders": lambda request: all(order.client_order_id for order in request.orders),
        # The order that comes is known again by its own id; the one that goes is gone by then either way.
        "ReplaceOrder": lambda request: bool(request.order.client_order_id),
        "CreateAccount": with_field("idempotency_key"),
        "Deposit": with_field("idempotency_key"),
        "Withdraw": with_field("idempotency_key"),
    },
    writes=(
        "CancelOrder",
        "CancelAll",
        "AmendOrder",
        "SetAccountStatus",
        "CreateKey",
        "RevokeKey",
        "SetInstrumentStatus",
    ),
)
