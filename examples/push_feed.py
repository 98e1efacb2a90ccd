"""A feed to try the push source on: it pushes a random walk to every local socket that connects.

    python examples/push_feed.py --port 9500
    fauxchange up --push BTC/USD=tcp://127.0.0.1:9500      (in another terminal)

The prices are then served like all others: `fauxchange prices BTC-USD`, with `source` `live`. Stop this script and
start it again to watch the reconnect; `--drop 0.05` leaves out some messages to watch gaps being found.

Every line is one JSON object. A quote and a trade take the next number of the feed's own sequence; a heartbeat
repeats the last. A client that subscribes (again) gets the present quote at once. To push your own prices, keep the
lines and replace `RandomWalk`. The same seed pushes the same prices.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Callable
from decimal import Decimal

TICK = Decimal("0.01")
HEARTBEAT_S = 1.0


class RandomWalk:
    """A price that moves by a few ticks at a time."""

    def __init__(self, seed: int, start: Decimal) -> None:
        self._random = random.Random(seed)  # noqa: S311 - prices for a demonstration, no secrets
        # Apart, so that when trades happen changes nothing about where the price goes.
        self._trades = random.Random(f"{seed} trades")  # noqa: S311 - as above
        self._ticks = int(start / TICK)

    def step(self) -> None:
        """Move the price."""
        self._ticks = max(10, self._ticks + round(self._random.gauss(0, 25)))

    def quote(self) -> dict[str, str]:
        """Return bid and ask, a few ticks around the price."""
        return {"bid": str((self._ticks - 2) * TICK), "ask": str((self._ticks + 2) * TICK)}

    def trade(self) -> dict[str, str]:
        """Return a trade at the bid or at the ask."""
        side = self._trades.choice((-2, 2))
        return {
            "price": str((self._ticks + side) * TICK),
            "quantity": str(Decimal(self._trades.randint(1, 500)) / 1000),
        }


class PushFeed:
    """Serve one symbol's quotes and trades to any number of clients.

    Units: interval_s in seconds between two quotes; drop a share between 0 and 1 of messages that get lost
    """

    def __init__(self, symbol: str, walk: RandomWalk, *, interval_s: float, drop: float = 0.0, seed: int = 1) -> None:
        self._symbol = symbol
        self._walk = walk
        self._interval_s = interval_s
        self._drop = drop
        self._losses = random.Random(seed)  # noqa: S311 - as above
        self._sequence = 0
        self._clients: set[asyncio.StreamWriter] = set()

    async def serve(self, host: str, port: int, *, ready: Callable[[int], None] = lambda _: None) -> None:
        """Serve until cancelled; tell `ready` the port once clients may connect (0 picks a free one)."""
        server = await asyncio.start_server(self._client, host, port)
        async with server, asyncio.TaskGroup() as group:
            ready(server.sockets[0].getsockname()[1])
            group.create_task(self._heartbeats())
            while True:
                await asyncio.sleep(self._interval_s)
                self._walk.step()
                self._push("quote", self._walk.quote())
                if self._sequence % 5 == 0:
                    self._push("trade", self._walk.trade())

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            # The only thing a client says is that it subscribes; the answer is where the price stands.
            while await reader.readline():
                self._push("quote", self._walk.quote())
        except (ConnectionError, ValueError):
            pass
        finally:
            self._clients.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _heartbeats(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._send({"type": "heartbeat", "sequence": self._sequence})

    def _push(self, kind: str, prices: dict[str, str]) -> None:
        self._sequence += 1
        if self._losses.random() >= self._drop:
            self._send({"type": kind, "sequence": self._sequence, "symbol": self._symbol, **prices})

    def _send(self, message: dict[str, object]) -> None:
        line = json.dumps(message).encode() + b"\n"
        for writer in self._clients:
            # A client that does not read loses its connection, not everybody's memory.
            if writer.transport.get_write_buffer_size() > 1 << 20:
                writer.transport.abort()
            elif not writer.is_closing():
                writer.write(line)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Push a random walk to a local socket, for `fauxchange up --push`.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9500)
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--start", type=Decimal, default=Decimal(60_000), help="the first price")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two quotes")
    parser.add_argument("--drop", type=float, default=0.0, help="share of messages that get lost (0.05 is one in 20)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    walk = RandomWalk(options.seed, options.start)
    feed = PushFeed(options.symbol, walk, interval_s=options.interval, drop=options.drop, seed=options.seed)

    def ready(port: int) -> None:
        sys.stdout.write(f"pushing {options.symbol} on tcp://{options.host}:{port}; stop with Ctrl-C\n")
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(feed.serve(options.host, options.port, ready=ready))


if __name__ == "__main__":
    main()
