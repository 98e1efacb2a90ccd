"""Configuration over REST: the real application over a service in memory."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from configuration_kit import HERE, Kit, loaded, until

from fauxchange.platform.administration import AdminKey
from fauxchange.platform.health import HealthRegistry
from fauxchange.platform.http.app import AuditAppConfig, HttpAppConfig, create_audit_app, create_http_app
from fauxchange.services.configuration.rest import configuration_audit_routes, configuration_routes

ADMIN = {"authorization": "Bearer the-admin-key"}
BOT = "/api/v1/configuration/bot"


@pytest.fixture
async def kit() -> Kit:
    return await loaded()


@pytest.fixture
async def client(kit: Kit) -> AsyncIterator[httpx.AsyncClient]:
    app = create_http_app(
        HttpAppConfig(
            title="test",
            version="0",
            health=HealthRegistry(),
            metrics=kit.metrics,
            clock=kit.clock,
            handlers=configuration_routes(kit.service, AdminKey("the-admin-key"), environment=HERE, max_age_s=7),
        )
    )
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def put(client: httpx.AsyncClient, key: str, value: object, **headers: str) -> httpx.Response:
    return await client.put(f"{BOT}/{key}", json={"value": value}, headers={**ADMIN, **headers})


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_a_value_is_set_and_read(client: httpx.AsyncClient) -> None:
    answer = await put(client, "spread_bps.BTC%2FUSD", 20)

    read = await client.get(f"{BOT}/spread_bps.BTC-USD")

    assert answer.status_code == 200
    assert read.json() == answer.json() == {
        "service": "bot",
        "environment": HERE,
        "key": "spread_bps.BTC-USD",
        "type": "decimal",
        "value": "20",
        "version": 1,
        "updated_at": "2026-01-01T00:00:00.000000Z",
        "updated_by": "admin",
    }  # fmt: skip
    assert read.headers["etag"] == answer.headers["etag"]
    assert read.headers["cache-control"] == "max-age=7"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (401, "admin_key_required")),
        ({"authorization": "Bearer other"}, (401, "wrong_admin_key")),
        ({"authorization": "Bearer fxk_0123"}, (403, "forbidden")),
    ],
)
async def test_only_administrators_change_something(
    client: httpx.AsyncClient, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    answers = [
        await client.put(f"{BOT}/mode", json={"value": "calm"}, headers=headers),
        await client.delete(f"{BOT}/mode", headers=headers),
        await client.post(f"{BOT}/mode/rollback", json={"version": 1}, headers=headers),
    ]

    assert [code(answer) for answer in answers] == [expected] * 3


async def test_whoever_is_no_administrator_is_told_so_before_the_body_is_looked_at(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"{BOT}/mode", content=b"{", headers={"content-type": "application/json"})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        ("mode", {"value": "odd"}, (400, "value_not_allowed")),
        ("other", {"value": 1}, (400, "undeclared_key")),
        ("api_key", {"value": 1}, (400, "secret_refused")),
        ("mode", {}, (400, "missing_field")),
        ("mode", {"value": "calm", "wrong": 1}, (400, "unknown_field")),
        ("mode", {"value": "calm", "type": "text"}, (400, "invalid_request")),
        ("mode", {"value": "calm", "comment": "a\u0000b"}, (400, "invalid_request")),
        ("mode", {"value": "calm", "expected_version": 3}, (409, "version_conflict")),
    ],
)
async def test_a_bad_change_is_refused(
    client: httpx.AsyncClient, key: str, body: object, expected: tuple[int, str]
) -> None:
    assert code(await client.put(f"{BOT}/{key}", json=body, headers=ADMIN)) == expected


async def test_a_key_that_is_not_set_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("mode", "mode/history"):
        assert code(await client.get(f"{BOT}/{path}")) == (404, "configuration_not_set")


async def test_an_environment_is_another_place(client: httpx.AsyncClient) -> None:
    await client.put(f"{BOT}/mode?environment=production", json={"value": "calm"}, headers=ADMIN)

    assert (await client.get(f"{BOT}/mode?environment=production")).json()["value"] == "calm"
    assert (await client.get(f"{BOT}/mode")).status_code == 404
    listed = (await client.get("/api/v1/configuration")).json()["services"]
    assert listed == [{"service": "bot", "environment": "production", "keys": 1, "version": 1}]


async def test_all_keys_come_in_alphabetical_order_page_by_page(client: httpx.AsyncClient) -> None:
    for key in ("c", "a", "b"):
        await client.put(f"/api/v1/configuration/open/{key}", json={"value": key}, headers=ADMIN)

    seen, cursor = [], ""
    for _ in range(2):
        page = (await client.get(f"/api/v1/configuration/open?limit=2{cursor}")).json()
        seen.append([value["key"] for value in page["values"]])
        cursor = f"&cursor={page['next_cursor']}"

    assert seen == [["a", "b"], ["c"]]
    assert page["next_cursor"] is None
    assert page["version"] == 3


async def test_a_service_without_keys_has_none(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/configuration/nobody")

    assert (answer.status_code, answer.json()["values"], answer.json()["version"]) == (200, [], 0)


async def test_history_tells_who_changed_what_and_why(client: httpx.AsyncClient) -> None:
    await client.put(f"{BOT}/mode", json={"value": "calm", "comment": "to begin with"}, headers=ADMIN)
    await client.delete(f"{BOT}/mode?comment=enough", headers=ADMIN)
    back = await client.post(f"{BOT}/mode/rollback", json={"version": 1}, headers=ADMIN)

    page = (await client.get(f"{BOT}/mode/history?limit=2")).json()
    rest = (await client.get(f"{BOT}/mode/history?limit=2&cursor={page['next_cursor']}")).json()

    assert back.json()["value"] == "calm"
    told = [(change["version"], change["deleted"], change["comment"]) for change in page["changes"] + rest["changes"]]
    assert told == [(3, False, ""), (2, True, "enough"), (1, False, "to begin with")]
    assert rest["next_cursor"] is None
    assert len(page["changes"][0]["trace_id"]) == 32


async def test_what_is_known_already_is_not_sent_again(client: httpx.AsyncClient) -> None:
    await put(client, "mode", "calm")
    for path in ("", "/mode"):
        tag = (await client.get(BOT + path)).headers["etag"]

        known = await client.get(BOT + path, headers={"if-none-match": f'"other", W/{tag}'})
        unknown = await client.get(BOT + path, headers={"if-none-match": '"other"'})

        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
        assert known.headers["cache-control"] == "max-age=7"
        assert unknown.status_code == 200
    await put(client, "pause", "1s")
    assert (await client.get(f"{BOT}/mode", headers={"if-none-match": tag})).status_code == 304


async def test_a_change_can_be_for_one_version_alone(client: httpx.AsyncClient) -> None:
    first = await put(client, "mode", "calm", **{"if-none-match": "*"})
    assert code(await put(client, "mode", "wild", **{"if-none-match": "*"})) == (412, "precondition_failed")
    assert code(await put(client, "mode", "wild", **{"if-match": '"1-beef"'})) == (412, "precondition_failed")
    assert code(await put(client, "pause", "1s", **{"if-match": "*"})) == (412, "precondition_failed")

    second = await put(client, "mode", "wild", **{"if-match": first.headers["etag"]})
    gone = await client.delete(f"{BOT}/mode", headers={**ADMIN, "if-match": first.headers["etag"]})

    assert (first.status_code, second.status_code, gone.status_code) == (200, 200, 412)
    assert second.json()["version"] == 2


@pytest.mark.parametrize("path", ["", "/mode"])
async def test_who_would_wait_is_answered_when_something_changes(
    kit: Kit, client: httpx.AsyncClient, path: str
) -> None:
    await put(client, "mode", "calm")
    tag = (await client.get(BOT + path)).headers["etag"]
    asking = asyncio.create_task(
        client.get(BOT + path, headers={"if-none-match": tag, "prefer": "respond-async, wait=25"})
    )
    await until(lambda: kit.metric("configuration_watchers"))

    await put(client, "mode", "wild")
    answer = await asking

    assert answer.status_code == 200
    assert '"wild"' in answer.text


async def test_who_waits_for_a_key_is_not_answered_for_another(kit: Kit, client: httpx.AsyncClient) -> None:
    await put(client, "mode", "calm")
    tag = (await client.get(f"{BOT}/mode")).headers["etag"]
    asking = asyncio.create_task(client.get(f"{BOT}/mode", headers={"if-none-match": tag, "prefer": "wait=25"}))
    await until(lambda: kit.metric("configuration_watchers"))

    await put(client, "pause", "1s")
    await until(lambda: kit.metric("configuration_watchers"))
    assert not asking.done()
    kit.service.waiting.end()

    assert (await asking).status_code == 304


async def test_schemas_say_what_a_service_takes(client: httpx.AsyncClient) -> None:
    bot = (await client.get("/api/v1/configuration-schemas/bot")).json()
    nobody = (await client.get("/api/v1/configuration-schemas/nobody")).json()

    assert (bot["open"], [each["name"] for each in bot["declarations"]]) == (
        False,
        ["spread_bps", "spread_bps.*", "pause", "mode"],
    )
    assert bot["declarations"][0] | {"description": ""} == {
        "name": "spread_bps",
        "type": "decimal",
        "description": "",
        "minimum": "0",
        "maximum": "100",
        "choices": [],
        "pattern": None,
    }
    assert nobody == {"service": "nobody", "open": True, "declarations": []}


async def test_before_the_store_was_read_questions_are_answered_with_503_and_when_to_come_back() -> None:
    kit = Kit()
    app = create_http_app(
        HttpAppConfig(
            title="test",
            version="0",
            health=HealthRegistry(),
            metrics=kit.metrics,
            clock=kit.clock,
            handlers=configuration_routes(kit.service, AdminKey("the-admin-key"), environment=HERE, max_age_s=0),
        )
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        answer = await client.get(BOT)

    assert code(answer) == (503, "configuration_not_loaded")
    assert answer.headers["retry-after"] == "1"


async def test_the_audit_listener_tells_the_trail_and_the_state(kit: Kit, client: httpx.AsyncClient) -> None:
    await put(client, "mode", "calm")
    await put(client, "mode", "wild")
    app = create_audit_app(
        AuditAppConfig(
            title="test",
            version="0",
            metrics=kit.metrics,
            key="the-audit-key",
            handlers=configuration_audit_routes(kit.service, kit.trail, kit.audit),
        )
    )
    headers = {"authorization": "Bearer the-audit-key"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://test/audit/v1", headers=headers
    ) as audit:
        page = (await audit.get("/configuration/trail?limit=1")).json()
        rest = (await audit.get(f"/configuration/trail?limit=1&cursor={page['next_cursor']}")).json()
        state = (await audit.get("/configuration/state")).json()

    assert [event["data"]["value"] for event in page["events"] + rest["events"]] == ["calm", "wild"]
    assert page["events"][0]["type"] == "fauxchange.configuration.changed"
    assert state["namespaces"] == {"bot/development": {"version": 2, "keys": 1}}
