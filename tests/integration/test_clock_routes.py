"""The venue's clock, driven over the audit API."""

from pathlib import Path
from typing import Any

import httpx

from fauxchange.testing.inprocess import running

START = "2026-01-31T12:00:00Z"


async def command(url: str | None, key: str | None, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        return await client.post(f"{url}/audit/v1/clock", json=body)


async def test_a_paused_clock_is_stepped_and_run_ahead(tmp_path: Path) -> None:
    async with running(tmp_path, {"START_TIME": START}, services=("market-data",)) as live:
        url, key = live.venue.audit, live.venue.audit_key

        paused = (await command(url, key, action="pause")).json()
        before_ns = live.clock.now_ns()
        stepped = (await command(url, key, action="step", duration="90s")).json()
        ran = (await command(url, key, action="run_until", until="2026-01-31T13:00:00Z")).json()

        assert paused["paused"] is True
        assert stepped["kind"] == "virtual"
        assert live.clock.now_ns() > before_ns + 90 * 1_000_000_000
        assert ran["time"] == "2026-01-31T13:00:00.000000Z"
        assert live.market_data.service.price("BTC/USD").sequence == 3_601


async def test_the_speed_is_changed_and_time_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, {"START_TIME": START}, services=("market-data",), paused=True) as live:
        url, key = live.venue.audit, live.venue.audit_key

        faster = (await command(url, key, action="speed", speed=100)).json()
        resumed = (await command(url, key, action="resume")).json()

        assert faster["speed"] == 100.0
        assert resumed["paused"] is False


async def test_what_the_clock_cannot_do_is_refused_with_a_reason(tmp_path: Path) -> None:
    async with running(tmp_path, {"START_TIME": START}, services=("market-data",), paused=True) as live:
        url, key = live.venue.audit, live.venue.audit_key

        answers = [
            await command(url, key, action="step"),
            await command(url, key, action="step", duration="soon"),
            await command(url, key, action="step", duration="400d"),
            await command(url, key, action="run_until", until="2020-01-01T00:00:00Z"),
            await command(url, key, action="speed", speed=0),
            await command(url, key, action="fly"),
        ]

        assert [answer.status_code for answer in answers] == [400] * 6
        assert [answer.json()["code"] for answer in answers][:4] == [
            "missing_field",
            "invalid_duration",
            "out_of_range",
            "time_passed",
        ]


async def test_a_wall_clock_cannot_be_driven(tmp_path: Path) -> None:
    async with running(tmp_path, services=("market-data",)) as live:
        answer = await command(live.venue.audit, live.venue.audit_key, action="pause")

        assert (answer.status_code, answer.json()["code"]) == (409, "clock_not_virtual")
