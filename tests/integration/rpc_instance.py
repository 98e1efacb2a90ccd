"""An instance of market data that only says which one it is: run by `test_service_clients.py`, which kills it.

    python rpc_instance.py NAME PORT

Its prices are those of a symbol that is its name. It tells its port when it can be called, and writes the metadata
that a call came with into the price's `last`.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import structlog

from fauxchange.contracts.market_data.v1 import market_data_pb2
from fauxchange.domain.errors import NotFound
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.rpc.deadlines import remaining_s
from fauxchange.platform.rpc.server import GrpcServer
from fauxchange.platform.tracing import current_request

SERVICE = "fauxchange.market_data.v1.MarketDataService"
NAME, PORT = sys.argv[1], int(sys.argv[2])


async def _get_price(request: Any, _context: Any) -> Any:
    if request.symbol == "none":
        raise NotFound("there is no symbol none", code="unknown_symbol", field="symbol")
    if request.symbol == "slow":
        await asyncio.sleep(60)
    context = current_request()
    left_s = remaining_s(asyncio.get_running_loop().time())
    ids = "" if context is None else f"{context.request_id} {context.trace_id} {left_s is not None}"
    return market_data_pb2.Price(symbol=NAME, last=ids)


async def _stream_prices(request: Any, _context: Any) -> AsyncIterator[Any]:
    sequence = request.subscriptions[0].from_sequence
    while True:
        price = market_data_pb2.Price(symbol=NAME, sequence=sequence)
        yield market_data_pb2.PriceBatch(updates=[market_data_pb2.PriceUpdate(sequence=sequence, price=price)])
        sequence += 1
        await asyncio.sleep(0.01)


async def main() -> None:
    """Serve until told to stop."""
    # The parent reads standard output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    health = HealthRegistry()
    health.add_service("market-data")
    server = GrpcServer(
        "grpc",
        Listener(host="127.0.0.1", port=PORT, setting="GRPC_PORT"),
        metrics=NullMetrics(),
        health=health,
    )
    handlers = {
        "GetPrice": grpc.unary_unary_rpc_method_handler(
            _get_price,
            request_deserializer=market_data_pb2.GetPriceRequest.FromString,
            response_serializer=market_data_pb2.Price.SerializeToString,
        ),
        "StreamPrices": grpc.unary_stream_rpc_method_handler(
            _stream_prices,
            request_deserializer=market_data_pb2.StreamPricesRequest.FromString,
            response_serializer=market_data_pb2.PriceBatch.SerializeToString,
        ),
    }
    server.add(SERVICE, grpc.method_handlers_generic_handler(SERVICE, handlers), health_name="market-data")
    await server.start()
    health.set_ready(True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # It closes when the parent is gone, however that ended.
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    sys.stdout.write(f"{server.address[1]}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.stop()


asyncio.run(main())
