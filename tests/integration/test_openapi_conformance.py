"""Requests made up from the documents themselves: no answer is a server error, and each is as documented."""

import hashlib
import hmac
import itertools
import time
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from requests import PreparedRequest
from requests.auth import AuthBase
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from fauxchange.platform.ready import read_ready
from fauxchange.testing import Venue, VenueProcess, started

EXAMPLES = 12
"""Requests per operation: enough to find a shape that is not as documented, few enough for every run."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory):
    settings = {"STORE": "memory", "PRICE_UPDATE_INTERVAL": "1s", "MODEL_ENGINE": "python", "LOG_LEVEL": "warning"}
    with started(tmp_path_factory.mktemp("venue"), settings) as process:
        yield process


@pytest.fixture
def venue(process: VenueProcess) -> Venue:
    return process.venue


class Signed(AuthBase):
    """Signs what is sent, as a trader's client does."""

    def __init__(self, demo: dict[str, str]) -> None:
        self._demo = demo
        self._nonces = itertools.count()

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else body
        timestamp, nonce = str(time.time_ns() // 1_000_000), str(next(self._nonces))
        method = "GET" if request.method == "HEAD" else str(request.method)
        text = f"{timestamp}{nonce}{method}{request.path_url}".encode() + content
        signature = hmac.new(self._demo["api_secret"].encode(), text, hashlib.sha256).hexdigest()
        request.headers.update(
            {
                "FX-Key": self._demo["api_key"],
                "FX-Timestamp": timestamp,
                "FX-Nonce": nonce,
                "FX-Signature": signature,
            }
        )
        return request


def _check(
    url: str,
    headers: dict[str, str],
    least_operations: int,
    excluded: list[Any],
    *,
    auth: AuthBase | None = None,
    secured_by: str | None = None,
) -> None:
    """Send made-up requests to all operations, or to those that are secured by a scheme."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    operations = [result.ok() for result in schema.get_all_operations()]
    if secured_by is not None:
        operations = [one for one in operations if secured_by in str(one.definition.raw.get("security", ""))]
    assert len(operations) >= least_operations
    for operation in operations:

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def conforms(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, auth=auth, excluded_checks=excluded)

        conforms()


def test_the_production_api_answers_as_documented(venue: Venue) -> None:
    _check(venue.http, {}, least_operations=10, excluded=[])


def test_the_production_api_answers_a_trader_as_documented(process: VenueProcess) -> None:
    demo = read_ready(process.data_dir).secrets["demo"]
    # That a signature is wanted is tested elsewhere; that data of the right form may still be against the venue's rules
    # (an order for more than there is) is what 4xx are for.
    excluded = [ignored_auth, positive_data_acceptance]
    _check(process.venue.http, {}, 10, excluded, auth=Signed(demo), secured_by="fxSignature")


def test_the_production_api_answers_an_administrator_as_documented(process: VenueProcess) -> None:
    key = read_ready(process.data_dir).secrets["admin_key"]
    excluded = [ignored_auth, positive_data_acceptance]
    _check(process.venue.http, {"Authorization": f"Bearer {key}"}, 8, excluded, secured_by="adminKey")


def test_the_audit_api_answers_as_documented(venue: Venue) -> None:
    # That the key is wanted is tested beside the scenarios; here it is always sent. What a scenario has to have depends
    # on its kind, which the document leaves to the refusals.
    excluded = [ignored_auth, positive_data_acceptance]
    _check(venue.audit, venue.audit_headers, least_operations=7, excluded=excluded)
