"""The exchange over gRPC: parse, ask the service, render.

`callers` finds out who asks, `parsing` reads their messages, `trading` answers traders, `markets` everybody, `accounts`
administrators; `sessions` is order entry over a stream; `edge` makes one service of them.
"""

from fauxchange.services.exchange.rpc.edge import SERVICE_NAME, ExchangeRpc

__all__ = ["SERVICE_NAME", "ExchangeRpc"]
