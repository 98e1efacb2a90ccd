"""The document: what it says of the exchange's routes."""

import pytest

SIGNED = [{"fxKey": [], "fxTimestamp": [], "fxSignature": []}]
ADMIN = [{"adminKey": []}]
PUBLIC = {"/api/v1/instruments", "/api/v1/instruments/{symbol}", "/api/v1/book/{symbol}", "/api/v1/trades/{symbol}"}
OF_ALL_SERVICES = {"/api/v1/health", "/api/v1/live", "/api/v1/ready", "/api/v1/time"}


@pytest.fixture
async def document(client):
    return (await client.http.get("/openapi.json")).json()


@pytest.fixture
def operations(document):
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if path not in OF_ALL_SERVICES
    }


def test_every_route_says_what_credentials_it_wants(operations):
    wanted = {key: operation.get("security") for key, operation in operations.items()}

    for (method, path), security in wanted.items():
        if path in PUBLIC:
            assert security is None, path
        elif path.startswith("/api/v1/accounts") or path.endswith("/status"):
            assert security == ADMIN, path
        else:
            assert security == SIGNED, (method, path)


def test_the_schemes_are_those_headers(document):
    schemes = document["components"]["securitySchemes"]

    assert {name: scheme.get("name", scheme["type"]) for name, scheme in schemes.items()} == {
        "adminKey": "http",
        "fxKey": "FX-Key",
        "fxTimestamp": "FX-Timestamp",
        "fxSignature": "FX-Signature",
    }


def test_every_parameter_says_what_it_is(operations):
    silent = [
        (key, parameter["name"])
        for key, operation in operations.items()
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]

    assert silent == []


def test_every_route_says_what_it_is_for(operations):
    assert [key for key, operation in operations.items() if not operation.get("description")] == []


def test_refusals_beyond_the_usual_ones_are_documented(operations):
    assert {"200", "201", "401", "409", "413", "422", "429"} <= operations["POST", "/api/v1/orders"]["responses"].keys()
    for (_, path), operation in operations.items():
        if operation.get("security") == SIGNED:
            assert {"401", "403", "429"} <= operation["responses"].keys(), path


def test_a_rejection_is_documented_with_its_reason_and_its_order(document, operations):
    (content,) = operations["POST", "/api/v1/orders"]["responses"]["422"]["content"].items()
    media_type, described = content
    schema = document["components"]["schemas"][described["schema"]["$ref"].rsplit("/", 1)[1]]

    assert media_type == "application/problem+json"
    assert {"code", "detail", "reason", "order"} <= schema["properties"].keys()
    assert "reason" in schema["required"]


@pytest.mark.parametrize("name", ["OrderRequest", "BatchRequest", "AmendRequest", "AccountRequest", "TransferRequest"])
def test_bodies_say_that_they_take_no_other_fields(document, name):
    assert document["components"]["schemas"][name]["additionalProperties"] is False


async def test_the_trail_is_documented_in_both_of_its_forms(auditor):
    document = (await auditor.http.get("/openapi.json", headers={"Authorization": "Bearer the-audit-key"})).json()

    content = document["paths"]["/audit/v1/exchange/trail"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "application/jsonl"}
