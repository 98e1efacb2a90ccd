"""The dashboards of Grafana: panels as data, laid out row by row and written as the JSON that Grafana provisions.

`deploy/generate.py` writes them; a test compares, and sees that every metric and label is one that the services export.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
RATE = "$__rate_interval"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel. `queries` are pairs of an expression and its legend; a `stat` shows the newest value only."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    description: str = ""
    thresholds: Sequence[tuple[float | None, str]] = ()
    mappings: dict[str, tuple[str, str]] = field(default_factory=dict)
    stacked: bool = False
    least: float | None = 0


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One dashboard: its rows have a heading and panels."""

    uid: str
    title: str
    description: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[tuple[str, str]] = (("service", "process_start_time_seconds"),)
    """Pairs of a label and the metric whose values of it can be chosen."""


GOOD_IF_UP = ((None, "red"), (1, "green"))
BAD_IF_ANY = ((None, "green"), (1, "red"))
UP = {"0": ("down", "red"), "1": ("up", "green")}
BREAKER = {"0": ("closed", "green"), "1": ("half-open", "yellow"), "2": ("open", "red")}


def quantile(q: float, metric: str, by: str, chosen: str) -> str:
    """Return a quantile of a histogram, by labels."""
    return f"histogram_quantile({q}, sum by ({by}, le) (rate({metric}_bucket{{{chosen}}}[{RATE}])))"


def rate(metric: str, by: str, chosen: str) -> str:
    """Return the rate of a counter, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{chosen}}}[{RATE}]))"


SERVICE = 'service=~"$service"'
SYMBOL = f'{SERVICE}, symbol=~"$symbol"'
ORDERS = f'{SERVICE}, route=~"/api/v1/orders.*"'

VENUE = Dashboard(
    uid="fauxchange-venue",
    title="Fauxchange: venue",
    description="Is everything up, and does anybody notice if not. Start here.",
    rows=(
        (
            "Now",
            (
                Panel(
                    title="Services",
                    kind="stat",
                    width=6,
                    height=5,
                    queries=((f'up{{job="fauxchange", {SERVICE}}}', "{{service}}"),),
                    mappings=UP,
                    thresholds=GOOD_IF_UP,
                    description="Whether Prometheus reached each service at its last scrape.",
                ),
                Panel(
                    title="Stores",
                    kind="stat",
                    width=6,
                    height=5,
                    queries=((f"min by (service, store) (store_up{{{SERVICE}}})", "{{service}}: {{store}}"),),
                    mappings=UP,
                    thresholds=GOOD_IF_UP,
                    description="Whether each service reaches what it stores in.",
                ),
                Panel(
                    title="Prices a second",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=((f"sum(rate(feed_ticks_generated_total{{{SERVICE}}}[1m]))", "prices"),),
                    unit="short",
                    thresholds=((None, "red"), (0.1, "green")),
                ),
                Panel(
                    title="Instruments without a fresh price",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=((f"max(exchange_house_stale_instruments{{{SERVICE}}})", "instruments"),),
                    thresholds=BAD_IF_ANY,
                ),
                Panel(
                    title="Commands waiting for the journal",
                    kind="stat",
                    width=4,
                    height=5,
                    queries=((f"max(exchange_queue_commands{{{SERVICE}}})", "commands"),),
                    thresholds=((None, "green"), (100, "yellow"), (1000, "red")),
                ),
            ),
        ),
        (
            "Requests",
            (
                Panel(
                    title="REST requests",
                    queries=((rate("http_requests_total", "service", SERVICE), "{{service}}"),),
                    unit="reqps",
                ),
                Panel(
                    title="REST answers that failed (5xx)",
                    queries=(
                        (
                            rate("http_request_errors_total", "service, code", f'{SERVICE}, code=~"5.."'),
                            "{{service}} {{code}}",
                        ),
                    ),
                    unit="reqps",
                    description="503 of the exchange: the journal cannot be written, nothing is acknowledged.",
                ),
                Panel(
                    title="REST duration, p99",
                    queries=((quantile(0.99, "http_request_duration_seconds", "service", SERVICE), "{{service}}"),),
                    unit="s",
                ),
                Panel(
                    title="gRPC calls ended",
                    queries=((rate("grpc_requests_total", "service, type", SERVICE), "{{service}} {{type}}"),),
                    unit="reqps",
                ),
                Panel(
                    title="gRPC calls that failed",
                    queries=((rate("grpc_request_errors_total", "service, code", SERVICE), "{{service}} {{code}}"),),
                    unit="reqps",
                ),
                Panel(
                    title="Connected readers",
                    queries=(
                        (f"sum by (service, transport) (stream_subscribers{{{SERVICE}}})", "{{service}} {{transport}}"),
                    ),
                    description="WebSocket and gRPC streams that are open.",
                ),
            ),
        ),
        (
            "Processes",
            (
                Panel(
                    title="CPU",
                    width=6,
                    queries=((rate("process_cpu_seconds_total", "service", SERVICE), "{{service}}"),),
                    unit="percentunit",
                    description="Of one core: a service's loop uses one, so 100 % is where latencies begin to rise.",
                ),
                Panel(
                    title="Memory",
                    width=6,
                    queries=((f"max by (service) (process_resident_memory_bytes{{{SERVICE}}})", "{{service}}"),),
                    unit="bytes",
                ),
                Panel(
                    title="Event loop lag, p99",
                    width=6,
                    queries=((quantile(0.99, "asyncio_event_loop_lag_seconds", "service", SERVICE), "{{service}}"),),
                    unit="s",
                    description="What every latency of a process stands on; a few milliseconds are normal.",
                ),
                Panel(
                    title="Tasks and open files",
                    width=6,
                    queries=(
                        (f"sum by (service) (asyncio_tasks{{{SERVICE}}})", "{{service}} tasks"),
                        (f"sum by (service) (process_open_fds{{{SERVICE}}})", "{{service}} files"),
                    ),
                    description="Steady growth is a leak.",
                ),
            ),
        ),
    ),
)

FEED = Dashboard(
    uid="fauxchange-feed",
    title="Fauxchange: feed",
    description="Prices on their way: made in time, delivered in time, stored.",
    variables=(("service", "feed_ticks_generated_total"), ("symbol", "feed_ticks_generated_total")),
    rows=(
        (
            "Prices",
            (
                Panel(
                    title="Prices made",
                    width=12,
                    queries=((rate("feed_ticks_generated_total", "symbol", SYMBOL), "{{symbol}}"),),
                    unit="short",
                    description="Prices a second, by symbol. A line at zero is a feed that stands still.",
                ),
                Panel(
                    title="Prices delivered",
                    width=12,
                    queries=((rate("feed_ticks_delivered_total", "symbol", SYMBOL), "{{symbol}}"),),
                    unit="short",
                    description="One price to ten subscribers counts ten.",
                ),
            ),
        ),
        (
            "Latency",
            (
                Panel(
                    title="Lateness of prices",
                    width=12,
                    queries=tuple(
                        (quantile(q, "feed_generation_lag_seconds", "service", SERVICE), f"p{q * 100:g}")
                        for q in (0.5, 0.99, 0.999)
                    ),
                    unit="s",
                    description="How late prices were made after they were due, in venue time.",
                ),
                Panel(
                    title="From made to written to the last subscriber",
                    width=12,
                    queries=tuple(
                        (quantile(q, "feed_delivery_latency_seconds", "service", SERVICE), f"p{q * 100:g}")
                        for q in (0.5, 0.99, 0.999)
                    ),
                    unit="s",
                ),
            ),
        ),
        (
            "Readers and losses",
            (
                Panel(
                    title="Subscriptions",
                    width=6,
                    queries=((f"sum by (symbol) (feed_subscribers{{{SYMBOL}}})", "{{symbol}}"),),
                ),
                Panel(
                    title="Slow readers",
                    width=6,
                    queries=(
                        (rate("stream_messages_conflated_total", "transport", SERVICE), "{{transport}} conflated"),
                        (rate("stream_slow_consumers_total", "transport", SERVICE), "{{transport}} disconnected"),
                    ),
                    description="Messages merged into newer ones, and readers given up, a second.",
                ),
                Panel(
                    title="Resumptions refused",
                    width=6,
                    queries=((rate("stream_snapshot_required_total", "transport", SERVICE), "{{transport}}"),),
                    description="A reader came back for messages that are gone; RESUME_BUFFER is how many are kept.",
                ),
                Panel(
                    title="Gaps and prices given up",
                    width=6,
                    queries=(
                        (rate("feed_gaps_total", "source", SERVICE), "gaps: {{source}}"),
                        (rate("feed_ticks_dropped_total", "reason", SERVICE), "given up: {{reason}}"),
                    ),
                ),
            ),
        ),
    ),
)

EXCHANGE = Dashboard(
    uid="fauxchange-orders",
    title="Fauxchange: orders and latency",
    description="From order to acknowledgement: how many, how quick, what was refused.",
    variables=(("service", "exchange_commands_total"), ("symbol", "exchange_house_refreshes_total")),
    rows=(
        (
            "Orders",
            (
                Panel(
                    title="Orders and trades",
                    queries=(
                        (rate("exchange_orders_total", "service", SERVICE), "orders"),
                        (rate("exchange_trades_total", "service", SERVICE), "trades"),
                        (rate("exchange_commands_total", "service", SERVICE), "commands"),
                    ),
                    unit="short",
                    description="A second. Commands are all that the journal holds, the house's moves among them.",
                ),
                Panel(
                    title="Order requests over REST, by answer",
                    queries=((rate("http_requests_total", "code", ORDERS), "{{code}}"),),
                    unit="reqps",
                    stacked=True,
                    description="400 and 422 are the caller's mistakes, 429 the rate limit, 503 the journal.",
                ),
                Panel(
                    title="Open orders",
                    queries=((f"sum by (service) (exchange_open_orders{{{SERVICE}}})", "{{service}}"),),
                ),
            ),
        ),
        (
            "Latency",
            (
                Panel(
                    title="Order to acknowledgement over REST",
                    width=12,
                    queries=tuple(
                        (
                            quantile(q, "http_request_duration_seconds", "service", f'{ORDERS}, method="POST"'),
                            f"p{q * 100:g}",
                        )
                        for q in (0.5, 0.95, 0.99)
                    ),
                    unit="s",
                    description="The commit of the journal included: nothing is acknowledged before it is durable.",
                ),
                Panel(
                    title="Unary gRPC calls",
                    width=12,
                    queries=tuple(
                        (
                            quantile(q, "grpc_request_duration_seconds", "service", f'{SERVICE}, type="unary"'),
                            f"p{q * 100:g}",
                        )
                        for q in (0.5, 0.95, 0.99)
                    ),
                    unit="s",
                ),
            ),
        ),
        (
            "Journal and read models",
            (
                Panel(
                    title="Waiting for the journal",
                    queries=((f"max by (service) (exchange_queue_commands{{{SERVICE}}})", "commands"),),
                    thresholds=((None, "green"), (1000, "red")),
                    description="At EXCHANGE_MAX_QUEUE orders are refused.",
                ),
                Panel(
                    title="Commands in a commit",
                    queries=(
                        (
                            " / ".join(
                                rate(f"exchange_{what}_total", "service", SERVICE) for what in ("commands", "batches")
                            ),
                            "commands",
                        ),
                    ),
                    description="While one batch is stored the next one gathers: more is more load, or a slower store.",
                ),
                Panel(
                    title="Read models behind",
                    queries=((f"max by (service) (exchange_read_models_behind_commands{{{SERVICE}}})", "commands"),),
                ),
            ),
        ),
        (
            "The house",
            (
                Panel(
                    title="Moves of the house",
                    queries=((rate("exchange_house_refreshes_total", "symbol", SYMBOL), "{{symbol}}"),),
                ),
                Panel(
                    title="Quotes pulled for want of a price",
                    queries=(
                        (rate("exchange_house_pulls_total", "symbol", SYMBOL), "{{symbol}}"),
                        (f"max(exchange_house_stale_instruments{{{SERVICE}}})", "instruments without"),
                    ),
                ),
                Panel(
                    title="Commands of the house that came to nothing",
                    queries=((rate("exchange_house_refusals_total", "reason", SERVICE), "{{reason}}"),),
                    description="Some order_finished are normal: the order was filled on the way.",
                ),
            ),
        ),
    ),
)

DEPENDENCIES = Dashboard(
    uid="fauxchange-dependencies",
    title="Fauxchange: dependencies",
    description="What services lean on: stores and each other.",
    rows=(
        (
            "Stores",
            (
                Panel(
                    title="Up",
                    kind="state-timeline",
                    width=24,
                    height=6,
                    queries=((f"min by (service, store) (store_up{{{SERVICE}}})", "{{service}}: {{store}}"),),
                    mappings=UP,
                    thresholds=GOOD_IF_UP,
                ),
                Panel(
                    title="Calls",
                    queries=(
                        (
                            rate("store_calls_total", "service, store, outcome", SERVICE),
                            "{{service}} {{store}} {{outcome}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    title="Duration of a call, p99",
                    queries=(
                        (
                            quantile(0.99, "store_call_duration_seconds", "service, store", SERVICE),
                            "{{service}} {{store}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Losses",
                    queries=(
                        (
                            f"sum by (service, store) (increase(store_losses_total{{{SERVICE}}}[{RATE}]))",
                            "{{service}} {{store}}",
                        ),
                    ),
                    description="Times that a store was lost; each loss has a line in the log, and so has its return.",
                ),
            ),
        ),
        (
            "Other services",
            (
                Panel(
                    title="Circuit breakers",
                    kind="state-timeline",
                    width=24,
                    height=6,
                    queries=(
                        (
                            f"max by (service, peer, address) (rpc_breaker_state{{{SERVICE}}})",
                            "{{service}} to {{peer}} {{address}}",
                        ),
                    ),
                    mappings=BREAKER,
                    thresholds=((None, "green"), (1, "yellow"), (2, "red")),
                ),
                Panel(
                    title="Calls to other services",
                    queries=(
                        (
                            rate("grpc_client_requests_total", "service, peer, code", SERVICE),
                            "{{service}} to {{peer}} {{code}}",
                        ),
                    ),
                    unit="reqps",
                ),
                Panel(
                    title="Duration of a call, p99",
                    queries=(
                        (
                            quantile(0.99, "grpc_client_request_duration_seconds", "service, peer", SERVICE),
                            "{{service}} to {{peer}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    title="Retries, and instances that take calls",
                    queries=(
                        (
                            rate("grpc_client_retries_total", "service, peer", SERVICE),
                            "{{service}} to {{peer}}: retries a second",
                        ),
                        (
                            f"sum by (service, peer) (rpc_peer_usable_instances{{{SERVICE}}})",
                            "{{service}} to {{peer}}: instances",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

DASHBOARDS = {"venue": VENUE, "feed": FEED, "orders": EXCHANGE, "dependencies": DEPENDENCIES}
"""The dashboards by the name of their file."""


def render(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["fauxchange"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "utc",
        "links": [
            {"title": "Dashboards", "type": "dashboards", "tags": ["fauxchange"], "asDropdown": True, "keepTime": True}
        ],
        "annotations": {"list": [_restarts()]},
        "templating": {"list": [_variable(label, metric) for label, metric in dashboard.variables]},
        "panels": list(_laid_out(dashboard.rows)),
    }


def _restarts() -> dict[str, Any]:
    return {
        "name": "Restarts",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "orange",
        "expr": 'changes(process_start_time_seconds{service=~"$service"}[1m]) > 0',
        "titleFormat": "{{service}} started",
    }


def _variable(label: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {label})"
    return {
        "name": label,
        "label": label.capitalize(),
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": label},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _laid_out(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for heading, panels in rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": heading,
            "collapsed": False,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            "panels": [],
        }
        top += 1
        left, tallest = 0, 0
        for panel in panels:
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            number += 1
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in panel.thresholds or ((None, "green"),)],
        },
        "mappings": [
            {"type": "value", "options": {value: {"text": text, "color": color, "index": index}}}
            for index, (value, (text, color)) in enumerate(panel.mappings.items())
        ],
        "color": {"mode": "thresholds" if panel.kind != "timeseries" else "palette-classic"},
        "custom": _custom(panel),
    }
    if panel.least is not None and panel.kind == "timeseries":
        defaults["min"] = panel.least
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for index, (expression, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
    }


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.thresholds else "off"},
        }
    return {"fillOpacity": 80, "lineWidth": 0} if panel.kind == "state-timeline" else {}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "graphMode": "none",
            "textMode": "value_and_name" if len(panel.mappings) > 1 else "value",
            "wideLayout": True,
        }
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    if panel.kind == "state-timeline":
        return {"legend": legend, "mergeValues": True, "rowHeight": 0.8, "showValue": "auto"}
    return {"legend": {**legend, "calcs": ["lastNotNull", "max"]}, "tooltip": {"mode": "multi", "sort": "desc"}}
