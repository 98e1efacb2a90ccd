"""The five minutes of the README work when they are pasted."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fauxchange.platform.settings import documented_settings
from fauxchange.testing import StreamClient, Venue, started

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"<!-- tour(?P<endless>: until Ctrl-C)? -->\n```bash\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
LET_RUN_S = 3
"""How long what ends with Ctrl-C only is let run."""
LET_START_S = 12
"""The same for a whole venue, which has to be ready by then."""
INTERRUPTED = {124, 130}
"""The exit code of `timeout`, and that of a command that Ctrl-C ended."""
TIMEOUT_S = 50


@dataclass
class Tour:
    """A folder like a fresh clone's, with a server that runs in it."""

    folder: Path
    venue: Venue

    def paste(self, text: str, *, endless: bool = False) -> str:
        """Run a block as it stands, but for the ports; return what it printed."""
        script = text.replace("127.0.0.1:8080", self.venue.http.removeprefix("http://"))
        script = script.replace("127.0.0.1:9080", self.venue.grpc)
        for port, free in zip(("8090", "9090"), free_ports(2), strict=True):
            script = script.replace(port, str(free))
        shell = ["bash", "-euo", "pipefail", "-c", script]
        run_s = LET_START_S if "fauxchange up" in script else LET_RUN_S
        command = ["timeout", "--signal=INT", "--kill-after=10", str(run_s), *shell] if endless else shell
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ran.returncode in ({0} | INTERRUPTED if endless else {0}), f"{script}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tour]:
    folder = tmp_path_factory.mktemp("clone")
    (folder / ".venv").symlink_to(sys.prefix)
    with ExitStack() as stack:
        child = stack.enter_context(started(folder / ".fauxchange"))
        asyncio.run(first_prices(child.venue))
        yield Tour(folder, child.venue)


async def first_prices(venue: Venue) -> None:
    """Return when every symbol has a price, as it has for people who take a moment to read."""
    async with StreamClient.connect(venue.websocket) as client:
        await client.subscribe("prices")
        symbols: set[str] = set()
        while len(symbols) < 5:
            symbols.add((await client.next("prices"))["symbol"])


def environment() -> dict[str, str]:
    settings = {setting.name for setting in documented_settings()}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    return {**kept, "AUDIT_PORT": "0", "LOG_FORMAT": "json", "NO_PROXY": "127.0.0.1"}


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def block(containing: str) -> re.Match[str]:
    (found,) = [match for match in BLOCK.finditer(README.read_text()) if containing in match["text"]]
    return found


def pasted(tour: Tour, containing: str) -> str:
    found = block(containing)
    return tour.paste(found["text"], endless=found["endless"] is not None)


def test_every_block_of_the_tour_is_tested() -> None:
    marks = ("snapshots/BTC-USD", "fauxchange prices", "websockets", "ReflectedService", "scenario start")
    marks += ("scenario watch", "history?order=asc", "--replay", "for seed in", "/metrics")
    marks += ("order buy", "fauxchange book", "Client.from_ready", "fauxchange generate")

    tested = [block(mark).start() for mark in marks]

    assert sorted(tested) == [match.start() for match in BLOCK.finditer(README.read_text())]
    assert README.read_text().count("```bash") == len(tested), "a block without <!-- tour --> is not tested"


def test_rest_answers_prices_candles_history_and_snapshots(tour: Tour) -> None:
    decoder, rest, documents = json.JSONDecoder(), pasted(tour, "snapshots/BTC-USD").strip(), []
    while rest:
        document, end = decoder.raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()

    prices, price, candles, history, snapshot = documents

    assert [each["symbol"] for each in prices["prices"]] == ["BTC/USD", "ETH/USD", "ADA/USD", "SOL/USD", "DOT/USD"]
    assert price["symbol"] == "BTC/USD"
    assert candles["interval"] == "1m"
    assert candles["candles"][0]["closed"] is False
    assert 1 <= len(history["prices"]) <= 3
    assert snapshot["bid"] < snapshot["ask"]


def test_prices_are_shown_in_the_terminal(tour: Tour) -> None:
    shown = pasted(tour, "fauxchange prices")

    assert re.search(r"BTC/USD +\d+\.\d\d +\d+\.\d\d", shown)


def test_orders_are_placed_shown_and_canceled(tour: Tour) -> None:
    printed = pasted(tour, "order buy")

    assert "FILLED" in printed
    assert "my-first" in printed
    assert "CANCELED" in printed
    assert "fee" in printed


def test_the_book_is_shown_in_the_terminal(tour: Tour) -> None:
    assert re.search(r"\d\.\d{5} +\d+\.\d\d +\d+\.\d\d +\d+\.\d{5}", pasted(tour, "fauxchange book"))


def test_the_python_client_trades(tour: Tour) -> None:
    assert pasted(tour, "Client.from_ready").startswith("FILLED")


def test_websocket_streams_a_snapshot_and_then_prices(tour: Tour) -> None:
    reply, *messages = [json.loads(line) for line in pasted(tour, "websockets").splitlines()]

    prices = [message for message in messages if message["channel"] == "prices"]
    assert reply["ok"] is True
    assert [message["type"] for message in prices][:2] == ["snapshot", "delta"]
    assert prices[1]["first_sequence"] == prices[0]["sequence"] + 1


def test_grpc_is_found_by_reflection(tour: Tour) -> None:
    printed = pasted(tour, "ReflectedService")

    assert 'symbol: "BTC/USD"' in printed
    assert "MESSAGE_TYPE_SNAPSHOT" in printed


def test_crash_is_started_and_watched(tour: Tour) -> None:
    started_ = pasted(tour, "scenario start")
    watched = pasted(tour, "scenario watch")

    assert "crash-1" in started_
    assert "plunge" in watched


def test_what_was_served_is_replayed(tour: Tour) -> None:
    header, first, *_ = pasted(tour, "history?order=asc").splitlines()

    log = pasted(tour, "--replay")

    assert header == "timestamp,bid,ask"
    assert "replay:BTC/USD" in log
    ready = next(document for document in map(json.loads, log.splitlines()) if document["event"] == "ready")
    assert ready["venue_time"][:19] == first[:19], "the recorded times are the venue's"


def test_same_seed_gives_the_same_candles_and_another_does_not(tour: Tour) -> None:
    hashes = re.findall(r"^[0-9a-f]{64}", pasted(tour, "for seed in"), re.MULTILINE)

    assert len(hashes) == 3
    assert hashes[0] == hashes[1] != hashes[2]


def test_history_is_generated_and_judged(tour: Tour) -> None:
    printed = pasted(tour, "fauxchange generate")

    assert (tour.folder / ".fauxchange/history/btc_usd_model_1m_seed7_2026-01-01.csv.gz").exists()
    assert "coarse_fine_asym" in printed
    assert "of 27" in printed, printed[-2000:]


def test_health_and_metrics_answer(tour: Tour) -> None:
    health, *series = pasted(tour, "/metrics").replace("}feed", "}\nfeed").splitlines()

    assert json.loads(health)["status"] == "ok"
    assert len(series) == 5
