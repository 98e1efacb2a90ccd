"""The same seed: the same commands, events and audit hash, on either store and however the run is cut into pieces."""

import random
from pathlib import Path

from fauxchange.contracts.exchange.messages import AccountRequest, OrderRequest, TransferRequest
from fauxchange.domain.times import NS_PER_S
from fauxchange.services.exchange.service.exchange import TrailQuery
from fauxchange.services.exchange.service.requests import Origin
from fauxchange.testing import RunningVenue, running

SECONDS = 40
ORIGIN = Origin("test")


async def _trade(venue: RunningVenue, account: int, number: int) -> None:
    service = venue.exchange.service
    side, price = ("buy", "59000.00") if number % 2 else ("sell", "61000.00")
    await service.place_order(
        account, OrderRequest(symbol="BTC/USD", side="buy", type="market", quantity="0.5"), ORIGIN
    )
    await service.place_order(account, OrderRequest(symbol="BTC/USD", side=side, quantity="0.2", price=price), ORIGIN)


async def _told(folder: Path, *, pieces: int, store: str = "memory") -> tuple[list[str], str, list[str]]:
    """Return the chain of the audit trail, the kernel's hash and the book of a run in which somebody trades too."""
    cuts = sorted(random.Random(pieces).sample(range(1, SECONDS * 1_000), pieces - 1))
    settings = {
        "START_TIME": "2026-01-01T00:00:00Z",
        "MODEL_ENGINE": "python",
        "SEED": 5,
        "STORE": store,
        # A key of an account is drawn at random, and is in the trail.
        "DEMO_FUNDS": "",
    }
    async with running(folder, settings, paused=True) as venue:
        service = venue.exchange.service
        start_ns = venue.clock.now_ns()
        account = (await service.create_account(AccountRequest(name="trader"), ORIGIN)).account
        for asset in ("USD", "BTC"):
            await service.deposit(str(account), TransferRequest(asset=asset, amount="10000000"), ORIGIN)
        moments = sorted({*((cut, 0) for cut in cuts), *((second * 1_000 + 500, 1) for second in range(SECONDS))})
        for moment_ms, trades in moments:
            await venue.clock.run_until(start_ns + moment_ms * NS_PER_S // 1_000)
            await service.sequencer.run_dry()
            if trades:
                await _trade(venue, account, moment_ms)
        hashes = [record.prev_hash async for record in service.trail(TrailQuery())]
        state = service.state()
    return hashes, str(state["state_hash"]), [str(book) for book in state["books"].values()]


async def test_runs_repeat_each_other_on_either_store_and_in_pieces(tmp_path: Path) -> None:
    whole = await _told(tmp_path / "whole", pieces=1)
    cut = await _told(tmp_path / "cut", pieces=23)
    stored = await _told(tmp_path / "stored", pieces=7, store="sqlite")

    assert len(whole[0]) > 500
    assert whole == cut
    assert whole == stored
