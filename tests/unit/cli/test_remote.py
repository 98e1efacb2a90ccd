import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fauxchange.cli.remote import Api, Place, find_audit, find_server, path_of
from fauxchange.domain.errors import (
    ConfigurationError,
    Conflict,
    DeadlineExceeded,
    FauxchangeError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from fauxchange.platform.ready import Ready, write_ready

KEY = "a-key-of-the-audit-api"


def api_that(answer: Callable[[httpx.Request], httpx.Response], key: str | None = None) -> Api:
    return Api(Place(url="http://venue", key=key), transport=httpx.MockTransport(answer))


def ready_in(folder: Path, *, audit: str | None = "http://127.0.0.1:8180") -> Path:
    write_ready(
        folder, Ready(http="http://127.0.0.1:8080", grpc="127.0.0.1:9080", audit=audit, secrets={"audit_key": KEY})
    )
    return folder


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthenticated),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (503, Unavailable),
        (500, FauxchangeError),
    ],
)
def test_a_refusal_becomes_the_failure_it_was_at_the_server(status: int, kind: type[FauxchangeError]) -> None:
    problem = {"detail": "there is no symbol", "code": "unknown_symbol", "field": "symbol", "request_id": "r-1"}

    with api_that(lambda _: httpx.Response(status, json=problem)) as api, pytest.raises(FauxchangeError) as refused:
        api.get("/prices/X-Y")

    assert type(refused.value) is kind
    assert refused.value.message.startswith("there is no symbol")
    assert (refused.value.code, refused.value.field) == ("unknown_symbol", "symbol")


def test_a_server_of_another_service_is_told_as_such() -> None:
    api = api_that(lambda _: httpx.Response(404, json={"code": "not_found", "detail": "there is nothing at this path"}))

    with pytest.raises(NotFound, match=r"http://venue/ serves no /api/v1/prices; .* --url or --data-dir"):
        api.get("/api/v1/prices")


def test_an_inner_error_of_the_server_names_the_request() -> None:
    problem = {"detail": "the server failed to answer", "request_id": "r-1"}

    with api_that(lambda _: httpx.Response(500, json=problem)) as api, pytest.raises(FauxchangeError, match="r-1"):
        api.get("/prices")


def test_the_key_and_the_body_are_sent() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"scenarios": []})

    with api_that(answer, key=KEY) as api:
        api.post("/audit/v1/scenarios", {"kind": "crash"})

    [request] = seen
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {"kind": "crash"}


def test_a_server_that_is_away_is_told_with_what_to_do() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with api_that(refuse) as api, pytest.raises(Unavailable, match=r"http://venue .*refused.*fauxchange up"):
        api.get("/prices")


def test_a_server_that_does_not_answer_in_time_is_a_deadline_exceeded() -> None:
    def hang(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    with api_that(hang) as api, pytest.raises(DeadlineExceeded, match="did not answer within"):
        api.get("/prices")


@pytest.mark.parametrize("body", [b"<html>", b"[]"])
def test_something_else_that_answers_is_no_fauxchange_server(body: bytes) -> None:
    with (
        api_that(lambda _: httpx.Response(200, content=body)) as api,
        pytest.raises(Unavailable, match="no Fauxchange"),
    ):
        api.get("/prices")


def test_the_server_is_found_through_the_data_folder(tmp_path: Path) -> None:
    ready_in(tmp_path)

    assert find_server(None, tmp_path).url == "http://127.0.0.1:8080"
    assert find_audit(None, None, tmp_path) == Place(url="http://127.0.0.1:8180", key=KEY)
    assert find_audit(None, "another-key-given", tmp_path).key == "another-key-given"


def test_the_data_folder_of_the_settings_is_looked_into_by_default(empty_folder: Path) -> None:
    ready_in(empty_folder / "elsewhere")
    (empty_folder / ".env").write_text("DATA_DIR=elsewhere\n")

    assert find_server(None, None).url == "http://127.0.0.1:8080"


def test_an_address_goes_before_the_data_folder(tmp_path: Path) -> None:
    assert find_server("http://other:1234/", ready_in(tmp_path)).url == "http://other:1234"


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://host", "http://", "http://host:99999", "http://host:x"])
def test_a_bad_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--url .* is not an address such as"):
        find_server(url, None)


def test_nothing_running_in_the_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing is running") as missing:
        find_server(None, tmp_path)

    assert missing.value.code == "not_running"


def test_a_server_without_an_audit_api_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="AUDIT_ENABLED"):
        find_audit(None, None, ready_in(tmp_path, audit=None))


def test_an_audit_address_wants_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="--audit-key"):
        find_audit("http://127.0.0.1:8180", None, None)

    monkeypatch.setenv("AUDIT_KEY", KEY)

    assert find_audit("http://127.0.0.1:8180", None, None).key == KEY


def test_the_key_of_a_place_is_not_in_its_text(tmp_path: Path) -> None:
    assert KEY not in repr(Place(url="http://venue", key=KEY))


def test_parts_of_a_path_are_quoted() -> None:
    assert path_of("prices", "BTC/USD") == "/prices/BTC%2FUSD"
