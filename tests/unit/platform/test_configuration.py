"""The client of the configuration service, against a server that a test makes up."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import httpx
import pytest
from configuration_kit import until

from fauxchange.data.memory.cache import MemoryCache, MemoryKeyspace
from fauxchange.domain.errors import InvalidRequest, NotFound, Unavailable
from fauxchange.domain.times import NS_PER_MS, NS_PER_S
from fauxchange.platform.configuration import ABSENT_S, ConfigurationClient, Values
from fauxchange.platform.metrics import PrometheusMetrics
from fauxchange.platform.ports import DependencyStatus


class Server:
    """A configuration service of the fewest words: values by key, tags, and what goes wrong."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.failure: Exception | int | None = None
        self.requests: list[httpx.Request] = []
        self.changed = asyncio.Event()

    def tag(self) -> str:
        return f'"{abs(hash(json.dumps(self.values)))}"'

    def set(self, **values: Any) -> None:
        self.values.update(values)
        self.changed.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.failure, Exception):
            raise self.failure
        if self.failure is not None:
            return httpx.Response(self.failure, json={"detail": "this is why"})
        tag = self.tag()
        if request.headers.get("if-none-match") == tag:
            if "wait" not in request.headers.get("prefer", ""):
                return httpx.Response(304, headers={"etag": tag, **self.headers})
            self.changed.clear()
            await self.changed.wait()
            tag = self.tag()
        headers = {"etag": tag, **self.headers}
        *_, last = request.url.path.split("/configuration/")[1].split("/")
        if last == "bot":
            listed = [{"key": key, "value": value} for key, value in sorted(self.values.items())]
            return httpx.Response(200, json={"values": listed, "version": len(listed)}, headers=headers)
        if last not in self.values:
            return httpx.Response(404, json={"code": "configuration_not_set"}, headers=headers)
        return httpx.Response(200, json={"value": self.values[last]}, headers=headers)


class Bench:
    """A client, its server, its cache and its wall clock."""

    def __init__(self) -> None:
        self.server = Server()
        self.now_ns = 1_700_000_000 * NS_PER_S
        self.metrics = PrometheusMetrics("service", "instance", "version")
        keyspace = MemoryKeyspace(wall_ns=lambda: self.now_ns, max_keys=1_000)
        self.cache = MemoryCache(keyspace, namespace="market_data", ttl_s=300.0)
        self.client = self.make()

    def make(self, url: Any = "http://config.test", **options: Any) -> ConfigurationClient:
        return ConfigurationClient(
            url,
            service="bot",
            environment="testing",
            cache=self.cache,
            metrics=self.metrics,
            wall_ns=lambda: self.now_ns,
            transport=httpx.MockTransport(self.server),
            **{"ttl_s": 60.0, "retry_s": 0.001, "poll_s": 0.001, **options},
        )

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)

    @property
    def asked(self) -> int:
        return len(self.server.requests)

    def lookups(self) -> dict[str, float]:
        lines = self.metrics.expose()[0].decode().splitlines()
        found = [line for line in lines if line.startswith("configuration_client_lookups_total{")]
        return {line.split('result="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in found}


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.client.stop()


# Types


@pytest.mark.parametrize(
    ("getter", "value", "expected"),
    [
        ("get_str", "calm", "calm"),
        ("get_int", 5, 5),
        ("get_int", "5", 5),
        ("get_float", "2.5", 2.5),
        ("get_float", 2, 2.0),
        ("get_decimal", "2.50", Decimal("2.50")),
        ("get_bool", True, True),
        ("get_bool", "false", False),
        ("get_duration_ns", "250ms", 250 * NS_PER_MS),
        ("get_list", ["a", 1], ["a", 1]),
        ("get_list", "a,b", ["a", "b"]),
        ("get_json", {"a": None}, {"a": None}),
        ("get_json", "true", "true"),
    ],
)
async def test_a_value_is_what_it_is_meant_to_be(bench: Bench, getter: str, value: Any, expected: Any) -> None:
    bench.server.set(it=value)

    got = await getattr(bench.client, getter)("it")

    assert (got, type(got)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("getter", "value"),
    [("get_int", "wide"), ("get_bool", "yes"), ("get_duration_ns", 5), ("get_str", 1), ("get_list", 1)],
)
async def test_a_value_of_another_type_is_refused_with_key_service_and_what_was_expected(
    bench: Bench, getter: str, value: Any
) -> None:
    bench.server.set(it=value)

    with pytest.raises(InvalidRequest, match=r"bot has it = .* in testing: it is ") as refused:
        await getattr(bench.client, getter)("it")

    assert (refused.value.code, refused.value.field) == ("wrong_value_type", "it")


async def test_a_key_that_is_not_set_is_its_default_or_a_failure(bench: Bench) -> None:
    assert await bench.client.get_int("it", 7) == 7
    assert await bench.client.get_json("it", None) is None
    with pytest.raises(NotFound, match="it of bot is not set in testing"):
        await bench.client.get_int("it")
    assert bench.asked == 1


# Freshness


async def test_a_key_that_is_set_soon_after_somebody_asked_for_it_is_seen_soon(bench: Bench) -> None:
    assert await bench.client.get_int("it", 7) == 7
    bench.server.set(it=1)

    bench.pass_s(ABSENT_S)

    assert await bench.client.get_int("it", 7) == 1


async def test_a_value_is_asked_for_once_while_it_is_fresh(bench: Bench) -> None:
    bench.server.set(it=1)
    assert await bench.client.get_int("it") == 1
    bench.server.set(it=2)
    bench.pass_s(59)

    assert await bench.client.get_int("it") == 1

    bench.pass_s(2)
    assert await bench.client.get_int("it") == 2
    assert bench.lookups() == {"fetched": 2, "cache": 1}


async def test_what_has_not_changed_is_not_sent_again(bench: Bench) -> None:
    bench.server.set(it=1)
    await bench.client.get_int("it")
    bench.pass_s(61)

    assert await bench.client.get_int("it") == 1
    assert await bench.client.get_int("it") == 1

    assert bench.server.requests[1].headers["if-none-match"] == bench.server.tag()
    assert bench.lookups() == {"fetched": 1, "unchanged": 1, "cache": 1}


@pytest.mark.parametrize(
    ("control", "fresh_s"),
    [("max-age=5", 5), ("public, max-age=5", 5), ("max-age=600", 60), ("no-cache", 0), ("max-age=0", 0), ("", 60)],
)
async def test_a_value_is_fresh_as_long_as_the_server_says_and_not_longer_than_the_cache_does(
    bench: Bench, control: str, fresh_s: int
) -> None:
    bench.server.set(it=1)
    bench.server.headers = {"cache-control": control}
    await bench.client.get_int("it")

    bench.pass_s(fresh_s - 0.5)
    if fresh_s:
        await bench.client.get_int("it")
        assert bench.asked == 1
    bench.pass_s(1)
    await bench.client.get_int("it")

    assert bench.asked == 2


async def test_what_must_not_be_stored_is_not(bench: Bench) -> None:
    bench.server.set(it=1)
    bench.server.headers = {"cache-control": "no-store"}
    await bench.client.get_int("it")

    assert await bench.client.cached_keys() == []


async def test_many_who_ask_at_once_are_one_question(bench: Bench) -> None:
    bench.server.set(it=1)

    assert await asyncio.gather(*(bench.client.get_int("it") for _ in range(20))) == [1] * 20

    assert bench.asked == 1


async def test_the_cache_is_looked_at_and_cleared_by_patterns(bench: Bench) -> None:
    bench.server.set(**{"a.one": 1, "a.two": 2, "b": 3})
    for key in ("a.one", "a.two", "b"):
        await bench.client.get_int(key)
    await bench.client.values()

    assert await bench.client.cached_keys("a.*") == ["a.one", "a.two"]
    assert await bench.client.forget("a.*") == 2
    assert await bench.client.cached_keys() == ["b"]
    assert (await bench.client.statistics()).keys == 2


# A service that is away


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("odd"), 503, 429, 500],
)
async def test_a_value_that_was_known_is_told_while_the_service_is_away(bench: Bench, failure: Any) -> None:
    bench.server.set(it=1)
    await bench.client.get_int("it")
    bench.pass_s(100)
    bench.server.failure = failure

    assert await bench.client.get_int("it") == 1

    assert bench.lookups()["stale"] == 1
    assert bench.client.health().status is DependencyStatus.DEGRADED
    assert "configuration_client_away" in bench.metrics.expose()[0].decode()
    with pytest.raises(Unavailable, match="other of bot cannot be had"):
        await bench.client.get_int("other")
    assert await bench.client.get_int("other", 9) == 9


async def test_a_service_that_is_away_is_not_asked_by_everybody_and_its_return_is_noticed(bench: Bench) -> None:
    client = bench.make(retry_s=1.0)
    bench.server.set(it=1)
    await client.get_int("it")
    bench.pass_s(100)
    bench.server.failure = 503
    for _ in range(5):
        await client.get_int("it")
    assert bench.asked == 2

    bench.server.failure = None
    bench.server.set(it=2)
    bench.pass_s(1)

    assert await client.get_int("it") == 2
    assert client.health().status is DependencyStatus.OK
    await client.stop()


async def test_the_log_says_once_that_the_service_is_away_and_once_that_it_is_back(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("fauxchange.platform.configuration.log", Told(told))
    bench.server.set(it=1)
    bench.server.failure = 503
    for _ in range(3):
        await bench.client.get_int("it", 0)
        bench.pass_s(1)
    bench.server.failure = None
    for _ in range(2):
        await bench.client.get_int("it")
        bench.pass_s(100)

    assert told == ["configuration_service_away", "configuration_service_back"]


class Told:
    def __init__(self, told: list[str]) -> None:
        self.warning: Callable[..., None] = lambda event, **_: told.append(event)
        self.info = self.warning


async def test_an_answer_that_is_no_answer_counts_as_away(bench: Bench) -> None:
    for response in (httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(200, json={})):

        async def answer(request: httpx.Request, response: httpx.Response = response) -> httpx.Response:
            return response

        client = bench.make()
        client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        with pytest.raises(Unavailable):
            await client.get_int("it")
        await client.stop()


async def test_a_question_that_the_service_refuses_is_a_failure_that_says_why(bench: Bench) -> None:
    bench.server.failure = 400

    with pytest.raises(InvalidRequest, match="this is why"):
        await bench.client.get_int("it", 5)


async def test_where_nobody_knows_a_service_the_failure_says_what_to_do(bench: Bench) -> None:
    async def nowhere() -> None:
        return None

    client = bench.make(nowhere)

    with pytest.raises(Unavailable, match="CONFIG_SERVICE_URL"):
        await client.get_int("it")
    await client.stop()


async def test_what_another_version_left_in_the_cache_is_replaced(bench: Bench) -> None:
    bench.server.set(it=1)
    await bench.cache.set("config:bot:testing:it", b"{}")

    assert await bench.client.get_int("it") == 1


# All values, and their changes


async def test_all_values_come_in_pages(bench: Bench) -> None:
    pages = {"": ({"key": "a", "value": 1}, "a"), "a": ({"key": "b", "value": 2}, None)}

    async def answer(request: httpx.Request) -> httpx.Response:
        value, cursor = pages[request.url.params.get("cursor", "")]
        return httpx.Response(200, json={"version": 7, "values": [value], "next_cursor": cursor})

    client = bench.make()
    client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))

    assert await client.values() == Values(version=7, values={"a": 1, "b": 2})
    await client.stop()


async def test_who_watches_hears_what_is_there_and_then_each_change(bench: Bench) -> None:
    bench.server.set(a=1)
    async with aclosing(bench.client.watch()) as watching:
        first = await anext(watching)
        following = asyncio.ensure_future(anext(watching))
        await until(lambda: "prefer" in bench.server.requests[-1].headers)
        bench.server.set(b=2)
        second = await following

    assert (first.values, second.values) == ({"a": 1}, {"a": 1, "b": 2})
    assert bench.server.requests[-1].headers["prefer"] == "wait=20"


async def test_who_watches_a_service_that_is_away_hears_what_was_known_and_then_what_is(bench: Bench) -> None:
    bench.server.set(a=1)
    await bench.client.values()
    bench.server.failure = httpx.ConnectError("refused")
    async with aclosing(bench.client.watch()) as watching:
        first = await anext(watching)
        following = asyncio.ensure_future(anext(watching))
        await until(lambda: bench.asked >= 5)
        bench.server.failure = None
        bench.server.set(a=2)
        second = await following

    assert (first.values, second.values) == ({"a": 1}, {"a": 2})


async def test_a_server_that_does_not_wait_is_asked_in_turns(bench: Bench) -> None:
    answers = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal answers
        answers += 1
        if answers in {2, 3}:
            return httpx.Response(304, headers={"etag": '"1"'})
        return httpx.Response(200, json={"values": [{"key": "a", "value": answers}]}, headers={"etag": '"1"'})

    client = bench.make()
    client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    async with aclosing(client.watch()) as watching:
        told = [(await anext(watching)).values["a"] for _ in range(2)]

    assert told == [1, 4]
    await client.stop()
