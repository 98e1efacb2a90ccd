"""Scenarios started, followed and ended through the audit API."""

import hashlib
import json

import httpx
import pytest

from fauxchange.domain.audit import GENESIS_HASH
from fauxchange.domain.times import NS_PER_S
from fauxchange.testing import RunningVenue, StreamClient

CRASH = {"id": "drop", "kind": "crash", "symbols": ["BTC-USD"], "magnitude": "20%", "duration": "30s"}


async def _trail(audit: httpx.AsyncClient, **params: str) -> list[dict]:
    return (await audit.get("/audit/v1/market-data/trail", params=params)).raise_for_status().json()["events"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eA=="}])
async def test_nothing_is_answered_without_the_key(venue: RunningVenue, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=venue.venue.audit, headers=headers) as stranger:
        answers = [
            await stranger.get("/audit/v1/scenarios"),
            await stranger.post("/audit/v1/scenarios", json=CRASH),
            await stranger.delete("/audit/v1/scenarios"),
            await stranger.get("/audit/v1/market-data/trail"),
            await stranger.get("/openapi.json"),
            await stranger.get("/nowhere"),
        ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "unauthenticated")}
    assert venue.market_data.director.runs() == []


async def test_each_phase_of_a_crash_is_heard_and_recorded_in_a_chain_that_holds(
    venue: RunningVenue, audit: httpx.AsyncClient
) -> None:
    async with StreamClient.connect(venue.venue.websocket) as client:
        await client.subscribe("scenario")
        snapshot = await client.next("scenario")
        body = CRASH | {"buildup": "5s", "aftershock": "10s"}
        (await audit.post("/audit/v1/scenarios", json=body)).raise_for_status()
        await venue.clock.step(60 * NS_PER_S)
        heard = []
        while not heard or heard[-1]["data"]["event"] != "ended":
            heard.append(await client.next("scenario"))

    recorded = [event for event in await _trail(audit) if event["type"].startswith("fauxchange.scenario.")]
    told = [(message["data"]["event"], message["data"]["scenario"]["phase"]) for message in heard]
    assert snapshot["data"] == {"scenarios": []}
    assert [event for event, _ in told] == ["scheduled", "started", "phase", "phase", "phase", "ended"]
    assert [phase for event, phase in told if event == "phase"] == ["buildup", "plunge", "aftershock"]
    assert [(event["type"].rpartition(".")[2], event["data"]["phase"]) for event in recorded] == told
    assert {event["subject"] for event in recorded} == {"drop"}
    assert {event["actor"] for event in recorded} == {"audit-api"}
    prev_hash = GENESIS_HASH
    for number, event in enumerate(await _trail(audit), 1):
        assert (event["sequence"], event["prev_hash"]) == (number, prev_hash)
        canonical = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        prev_hash = hashlib.sha256(canonical.encode()).hexdigest()


async def test_a_cancelled_scenario_bends_nothing_more(venue: RunningVenue, audit: httpx.AsyncClient) -> None:
    (await audit.post("/audit/v1/scenarios", json=CRASH | {"start": "10s"})).raise_for_status()

    cancelled = await audit.delete("/audit/v1/scenarios/drop")
    again = await audit.delete("/audit/v1/scenarios/drop")
    before = venue.market_data.service.price("BTC/USD").mid_half_ticks
    await venue.clock.step(60 * NS_PER_S)
    after = venue.market_data.service.price("BTC/USD").mid_half_ticks

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert again.status_code == 409
    assert abs(after / before - 1) < 0.05
    assert (await audit.get("/audit/v1/scenarios/drop")).json()["status"] == "cancelled"


async def test_all_scenarios_are_cancelled_at_once(venue: RunningVenue, audit: httpx.AsyncClient) -> None:
    timeline = {"scenarios": [CRASH, {"kind": "rally", "magnitude": "5%", "duration": "10s", "start": "1m"}]}
    started = (await audit.post("/audit/v1/scenarios", json=timeline)).raise_for_status().json()["scenarios"]

    cancelled = (await audit.delete("/audit/v1/scenarios")).json()["scenarios"]

    assert [run["scenario_id"] for run in started] == ["drop", "rally-1"]
    assert {run["status"] for run in cancelled} == {"cancelled"}
    assert len(cancelled) == 2


@pytest.mark.parametrize(
    ("body", "status", "code", "told"),
    [
        (CRASH, 409, "duplicate_scenario", "drop"),
        (CRASH | {"id": "b", "symbols": ["XYZ-USD"]}, 404, "unknown_symbol", "XYZ/USD"),
        (CRASH | {"id": "b", "magnitude": "200%"}, 400, "invalid_scenario", "magnitude"),
        (CRASH | {"id": "b", "duration": "soon"}, 400, "invalid_scenario", "duration"),
        (CRASH | {"id": "b", "colour": "red"}, 400, "invalid_scenario", "colour"),
        ({"kind": "crsh", "magnitude": 0.1, "duration": "1s"}, 400, "invalid_scenario", "did you mean crash?"),
        ({}, 400, "invalid_scenario", "kind"),
        ({"scenarios": []}, 400, "invalid_scenario", "scenarios"),
        ({"scenarios": [CRASH | {"id": "b"}, {"kind": "rally"}]}, 400, "invalid_scenario", "scenarios[1].duration"),
        ([1, 2], 400, "invalid_request", "body"),
    ],
)
async def test_a_bad_scenario_is_refused_as_a_whole(
    venue: RunningVenue, audit: httpx.AsyncClient, body: object, status: int, code: str, told: str
) -> None:
    (await audit.post("/audit/v1/scenarios", json=CRASH)).raise_for_status()

    refused = await audit.post("/audit/v1/scenarios", json=body)

    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert told in refused.json()["detail"]
    assert [run.scenario.spec.id for run in venue.market_data.director.runs()] == ["drop"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[" * 20_000, b'{"a": ' + b"[" * 20_000, b'{"a": ' + b"[" * 700 + b"]" * 700 + b"}", b"\xff"],
)
async def test_a_body_that_is_no_json_is_refused(audit: httpx.AsyncClient, content: bytes) -> None:
    refused = await audit.post("/audit/v1/scenarios", content=content, headers={"content-type": "application/json"})

    assert refused.status_code == 400, refused.text
    assert refused.headers["content-type"] == "application/problem+json"


async def test_a_replayed_symbol_cannot_be_bent(run_venue, tmp_path) -> None:
    recording = tmp_path / "btc_usdt_bbo.csv"
    recording.write_text("recv_ns,bid,bid_qty,ask,ask_qty\n1767225600000000000,100.00,1,100.02,1\n", encoding="utf-8")
    async with (
        run_venue(REPLAY=str(recording)) as venue,
        httpx.AsyncClient(base_url=venue.venue.audit, headers=venue.venue.audit_headers) as audit,
    ):
        refused = await audit.post("/audit/v1/scenarios", json=CRASH | {"symbols": ["BTC-USDT"]})

    assert (refused.status_code, refused.json()["code"]) == (409, "symbol_not_modelled")
    assert "BTC/USDT is replay data" in refused.json()["detail"]
