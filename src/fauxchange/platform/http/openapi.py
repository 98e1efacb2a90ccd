"""The OpenAPI document, and the rules that follow from it: what is documented is what is accepted."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import msgspec.inspect
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp, ControllerRouterHandler, Receive, Scope, Send

from fauxchange.domain.errors import InvalidRequest
from fauxchange.platform.errors import PROBLEM_JSON, ProblemDocument, UnsupportedMediaType
from fauxchange.platform.http.middleware import ENCODED_SLASH
from fauxchange.platform.http.problems import problem_title

Document = dict[str, Any]
Security = list[dict[str, list[str]]]

_METHODS = ("get", "post", "put", "patch", "delete")
_OF_EVERY_ROUTE = (400, 405, 414, 431, 500, 503)
_WITH_PATH_PARAMETERS = (404,)
_WITH_BODY = (408, 413, 415)
_SECURED = (401, 403)

ADMIN_SECURITY: Security = [{"adminKey": []}]
"""What an operation passes as `security=` that wants the admin key."""
SIGNED_SECURITY: Security = [{"fxKey": [], "fxTimestamp": [], "fxSignature": []}]
"""What an operation passes as `security=` that wants to be signed; see the documentation of the exchange."""
_SCHEMES = {
    "adminKey": SecurityScheme(type="http", scheme="bearer", description="The admin key."),
    "fxKey": SecurityScheme(type="apiKey", name="FX-Key", security_scheme_in="header", description="The API key."),
    "fxTimestamp": SecurityScheme(
        type="apiKey",
        name="FX-Timestamp",
        security_scheme_in="header",
        description="When the request was signed, in milliseconds since 1970; good for `FX-Window` (5000) of them.",
    ),
    "fxSignature": SecurityScheme(
        type="apiKey",
        name="FX-Signature",
        security_scheme_in="header",
        description="Lower-case hex HMAC-SHA256, keyed with the secret, of timestamp, `FX-Nonce` (if there is one), "
        "method, path?query and body.",
    ),
}


def openapi_document(
    handlers: Sequence[ControllerRouterHandler],
    *,
    title: str,
    version: str,
    description: str,
    bearer: str | None = None,
) -> Document:
    """Return the OpenAPI 3.1 document of `handlers`, refusals included.

    `bearer` names the security scheme of an application whose every route wants a key.
    """
    config = OpenAPIConfig(
        title=title,
        version=version,
        description=description,
        use_handler_docstrings=True,
        components=Components(
            security_schemes={bearer: SecurityScheme(type="http", scheme="bearer")} if bearer else {**_SCHEMES}
        ),
        security=[{bearer: []}] if bearer is not None else None,
    )
    # The framework documents the routes of an application; this one is built for its document and never serves.
    app = Litestar(handlers, openapi_config=config, logging_config=None)
    document = copy.deepcopy(app.openapi_schema.to_schema())
    for item in document["paths"].values():
        for method in _METHODS:
            if method in item:
                _complete(item[method], secured=bearer is not None)
    components = document.setdefault("components", {})
    _drop_unused_schemes(document)
    _, schemas = msgspec.json.schema_components([ProblemDocument], ref_template="#/components/schemas/{name}")
    components.setdefault("schemas", {}).update(schemas)
    for name in _strict_structs(app) & components["schemas"].keys():
        components["schemas"][name]["additionalProperties"] = False
    return document


@dataclass(frozen=True, slots=True)
class OperationRules:
    """What one operation accepts."""

    query: frozenset[str] = frozenset()
    repeatable: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    """The parameters that take any text, and so the word `null`."""
    media_types: frozenset[str] = frozenset()
    as_sent: frozenset[bytes] = frozenset()
    """The media types as most callers write them."""


@dataclass(slots=True)
class DocumentedOnly(ASGIMiddleware):
    """Refuse query parameters and media types that the document does not know, on the routes that it knows."""

    document: Document
    _rules: Mapping[tuple[str, str], OperationRules] = field(init=False)

    def __post_init__(self) -> None:
        self._rules = {
            (path, method.upper()): _rules(item[method])
            for path, item in self.document["paths"].items()
            for method in _METHODS
            if method in item
        }

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Check a request whose route is known, then hand it on."""
        if scope["type"] == ScopeType.HTTP:
            rules = self._rules.get((scope["path_template"], scope["method"]))
            if rules is not None:
                _check_query(rules, scope["query_string"])
                _check_media_type(rules, scope["headers"])
            # The router caches the mapping, so the change is made in a copy.
            parameters: Mapping[str, Any] = scope["path_params"]
            scope["path_params"] = {
                name: value.replace(ENCODED_SLASH, "/") if isinstance(value, str) else value
                for name, value in parameters.items()
            }
        await next_app(scope, receive, send)


def _check_query(rules: OperationRules, query: bytes) -> None:
    if not query:
        return
    seen = set()
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in rules.query:
            known = f"those are {', '.join(sorted(rules.query))}" if rules.query else "there are none"
            raise InvalidRequest(
                f"{name!r} is not a parameter of this route; {known}", code="unknown_parameter", field=name
            )
        if name in seen and name not in rules.repeatable:
            raise InvalidRequest(f"{name} is given more than once", code="repeated_parameter", field=name)
        # The framework would take it for a parameter that is not there.
        if value.lower() == "null" and name not in rules.texts:
            raise InvalidRequest(f"{name} cannot be null; leave it out", field=name)
        seen.add(name)


def _check_media_type(rules: OperationRules, headers: Iterable[tuple[bytes, bytes]]) -> None:
    if not rules.media_types:
        return
    for name, value in headers:
        if name == b"content-type" and value not in rules.as_sent:
            given = value.decode("latin-1").partition(";")[0].strip().lower()
            if given not in rules.media_types:
                raise UnsupportedMediaType(
                    f"this route reads {', '.join(sorted(rules.media_types))}, not {given!r}", field="content-type"
                )


def _rules(operation: Mapping[str, Any]) -> OperationRules:
    parameters = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    media_types = frozenset(operation.get("requestBody", {}).get("content", ()))
    return OperationRules(
        query=frozenset(parameter["name"] for parameter in parameters),
        repeatable=frozenset(parameter["name"] for parameter in parameters if _is_list(parameter["schema"])),
        texts=frozenset(parameter["name"] for parameter in parameters if _is_text(parameter["schema"])),
        media_types=media_types,
        as_sent=frozenset(name.encode() for name in media_types if name == name.lower()),
    )


def _is_list(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "array" or any(_is_list(option) for option in schema.get("oneOf", ()))


def _is_text(schema: Mapping[str, Any]) -> bool:
    if schema.get("type") == "array":
        return _is_text(schema.get("items", {}))
    return (schema.get("type") == "string" and "enum" not in schema) or any(
        _is_text(option) for option in schema.get("oneOf", ())
    )


def _strict_structs(app: Litestar) -> set[str]:
    """Return the names of the structs that are read from bodies and refuse fields they do not know."""
    bodies = [
        handler.parsed_data_field.annotation
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.parsed_data_field is not None
    ]
    roots = msgspec.inspect.multi_type_info(bodies)
    names, seen, waiting = set(), set(), list(roots)
    while waiting:
        info = waiting.pop()
        if id(info) in seen:
            continue
        seen.add(id(info))
        if isinstance(info, msgspec.inspect.StructType):
            waiting += [one.type for one in info.fields]
            if info.forbid_unknown_fields:
                names.add(info.cls.__name__)
        inner = [getattr(info, part, None) for part in ("type", "item_type", "value_type")]
        waiting += [part for part in inner if isinstance(part, msgspec.inspect.Type)]
        waiting += [*getattr(info, "types", ()), *getattr(info, "item_types", ())]
    return names


def _drop_unused_schemes(document: Document) -> None:
    """Leave those security schemes that something asks for."""
    operations = [item[method] for item in document["paths"].values() for method in _METHODS if method in item]
    wanted = {
        name for part in (document, *operations) for alternative in part.get("security") or () for name in alternative
    }
    schemes = document["components"].pop("securitySchemes", {})
    if kept := {name: scheme for name, scheme in schemes.items() if name in wanted}:
        document["components"]["securitySchemes"] = kept


def _complete(operation: Document, *, secured: bool) -> None:
    """Add the refusals to an operation, and say of its parameters what a URL can carry."""
    parameters = operation.get("parameters", [])
    for parameter in parameters:
        parameter["schema"] = _without_null(parameter["schema"])
    responses = operation.setdefault("responses", {})
    # The framework's own idea of a 400 is not what this application answers with.
    responses.pop("400", None)
    statuses = list(_OF_EVERY_ROUTE)
    if any(parameter["in"] == "path" for parameter in parameters):
        statuses += _WITH_PATH_PARAMETERS
    if "requestBody" in operation:
        statuses += _WITH_BODY
    if secured or operation.get("security"):
        statuses += _SECURED
    for status in sorted(statuses):
        responses.setdefault(str(status), _problem_response(status))


def _problem_response(status: int) -> Document:
    return {
        "description": problem_title(status),
        "content": {PROBLEM_JSON: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}},
    }


def _without_null(schema: Document) -> Document:
    """Return a parameter's schema without `null`, which a URL has no way to write."""
    options = [option for option in schema.get("oneOf", ()) if option.get("type") != "null"]
    if len(options) == 1 and len(schema["oneOf"]) > 1:
        return {**{name: value for name, value in schema.items() if name != "oneOf"}, **options[0]}
    return schema
