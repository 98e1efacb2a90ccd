"""An upgraded connection lives by the rules of its own protocol, not by those of HTTP."""

import json

from websockets.asyncio.client import connect

from fauxchange.platform.clock import WallClock
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import HttpAppConfig, create_http_app
from fauxchange.platform.http.protocol import ConnectionLimits
from fauxchange.platform.http.server import HttpServer
from fauxchange.platform.listening import Listener
from fauxchange.platform.metrics import NullMetrics
from fauxchange.platform.streams.endpoint import Heartbeat, StreamLimits, StreamMetrics
from fauxchange.platform.streams.hub import Hub
from fauxchange.platform.streams.websocket import StreamEndpoint, websocket_factory

HEAD_TIMEOUT_S = 0.2
BEAT_S = 0.05


async def test_a_websocket_outlives_the_time_that_a_request_head_may_take() -> None:
    metrics = NullMetrics()
    heartbeat = Heartbeat(epoch=1, interval_s=BEAT_S, now_ns=WallClock().now_ns)
    endpoint = StreamEndpoint(
        "/ws",
        hub=Hub(),
        resolve=lambda channel, symbol: [],
        heartbeat=heartbeat,
        limits=StreamLimits(),
        metrics=StreamMetrics(metrics),
    )
    app = create_http_app(
        HttpAppConfig(title="t", version="1", health=HealthRegistry(), metrics=metrics, clock=WallClock())
    )
    server = HttpServer(
        "http",
        app,
        Listener(host="127.0.0.1", port=0, setting="HTTP_PORT"),
        metrics=metrics,
        ws=websocket_factory({"/ws": endpoint}),
        limits=ConnectionLimits(head_timeout_s=HEAD_TIMEOUT_S),
    )
    await server.start()
    heartbeat.start()
    try:
        async with connect(f"ws{server.url.removeprefix('http')}/ws", proxy=None) as socket:
            # Speaking in between matters: each incoming frame is a chance to mistake the connection for HTTP.
            beats = []
            for number in range(12):
                await socket.send(json.dumps({"op": "ping", "id": number}))
                while json.loads(message := await socket.recv()).get("channel") != "heartbeat":
                    assert json.loads(message)["ok"] is True
                beats.append(json.loads(message)["sequence"])
    finally:
        await heartbeat.stop()
        await server.stop()

    assert beats == list(range(beats[0], beats[0] + 12))
    assert 12 * BEAT_S > 2 * HEAD_TIMEOUT_S
