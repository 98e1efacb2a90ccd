"""Requests made up from the documents themselves: no answer is a server error, and each is as documented."""

from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from fauxchange.testing import Venue, started

EXAMPLES = 12
"""Requests per operation: enough to find a shape that is not as documented, few enough for every run."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory):
    settings = {"STORE": "memory", "PRICE_UPDATE_INTERVAL": "1s", "MODEL_ENGINE": "python", "LOG_LEVEL": "warning"}
    with started(tmp_path_factory.mktemp("venue"), settings) as process:
        yield process.venue


def _check(url: str, headers: dict[str, str], least_operations: int, excluded: list[Any]) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    operations = [result.ok() for result in schema.get_all_operations()]
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
            case.call_and_validate(headers=headers, excluded_checks=excluded)

        conforms()


def test_the_production_api_answers_as_documented(venue: Venue) -> None:
    _check(venue.http, {}, least_operations=10, excluded=[])


def test_the_audit_api_answers_as_documented(venue: Venue) -> None:
    # That the key is wanted is tested beside the scenarios; here it is always sent. What a scenario has to have depends
    # on its kind, which the document leaves to the refusals.
    excluded = [ignored_auth, positive_data_acceptance]
    _check(venue.audit, venue.audit_headers, least_operations=7, excluded=excluded)
