"""Configuration over REST: parse, ask the service, render; conditional requests and long polling by entity tags.

A reader that sends `If-None-Match` with `Prefer: wait=20` is answered as soon as there is something else, or with 304
when the seconds are over: it hears of each change at once, and a server that knows no `Prefer` answers it all the same.

Source: RFC 9110, section 13 (conditional requests); RFC 7240, section 4.3 (the wait preference)
"""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from litestar import Request, Response, delete, get, post, put
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter
from litestar.types import ControllerRouterHandler

from fauxchange.contracts.configuration import render
from fauxchange.contracts.configuration.messages import (
    COMMENT_PATTERN,
    ChangesResponse,
    ConfiguredMessage,
    ConfiguredResponse,
    RollbackRequest,
    SchemaMessage,
    ValueMessage,
    ValueRequest,
    ValuesResponse,
)
from fauxchange.contracts.market_data.messages import TrailResponse
from fauxchange.data.ports import MAX_PAGE, AuditQuery, AuditRepository, ConfigurationQuery
from fauxchange.domain.configuration import (
    ENVIRONMENT_PATTERN,
    KEY_PATTERN,
    SERVICE_PATTERN,
    ConfigurationChange,
    ValueType,
)
from fauxchange.domain.errors import Conflict, InvalidRequest, NotFound, RateLimited
from fauxchange.domain.times import parse_time
from fauxchange.platform.administration import AdminKey
from fauxchange.platform.audit import AuditTrail
from fauxchange.platform.errors import PreconditionFailed
from fauxchange.platform.http.bodies import strict_body
from fauxchange.platform.http.openapi import ADMIN_SECURITY
from fauxchange.platform.http.problems import problem_responses
from fauxchange.services.configuration.core.state import Namespace, entity_tag
from fauxchange.services.configuration.service.configuration import ConfigurationService, Place, Wish

TAGS = ["configuration"]
INTERNAL_TAGS = ["configuration internals"]
ADMIN = "admin"
PAGE = 1_000
LONGEST_WAIT_S = 30

_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*([0-9]{1,6})\s*(?:$|,|;)")
_TAG = re.compile(r'(?:W/)?("[^"]*")')
_UNCHANGED = {304: ResponseSpec(None, description="Nothing has changed", generate_examples=False)}
_CONFLICTS = problem_responses(409, 412)

ServicePath = Annotated[str, PathParameter(description="A service, such as `market-data`.", pattern=SERVICE_PATTERN)]
KeyPath = Annotated[str, PathParameter(description="A key, such as `spread_bps.BTC-USD`.", pattern=KEY_PATTERN)]
EnvironmentQuery = Annotated[
    str | None,
    QueryParameter(
        name="environment", description="The environment; that of the server if not given.", pattern=ENVIRONMENT_PATTERN
    ),
]
LimitQuery = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_PAGE, description="The size of the page.")]
ValuesCursor = Annotated[
    str | None,
    QueryParameter(name="cursor", description="`next_cursor` of the page before.", pattern=KEY_PATTERN),
]
ChangesCursor = Annotated[str | None, QueryParameter(name="cursor", description="`next_cursor` of the page before.")]
IfNoneMatch = Annotated[
    str | None,
    HeaderParameter(name="If-None-Match", description="The `ETag` that is known: 304 if there is nothing else."),
]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer",
        description=f"`wait=20`: wait so many seconds ({LONGEST_WAIT_S} at most) for something that is not known.",
    ),
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", description="Change it only if this is its `ETag`; `*`: only if it is set."),
]
IfAbsent = Annotated[
    str | None, HeaderParameter(name="If-None-Match", description="`*`: set it only if it is not set.")
]
CommentQuery = Annotated[
    str | None, QueryParameter(name="comment", description="Why, for the history.", max_length=500)
]


def configuration_routes(
    service: ConfigurationService, admin: AdminKey, *, environment: str, max_age_s: int
) -> list[ControllerRouterHandler]:
    """Return the routes of configuration; `environment` is the one that is meant where none is named."""
    reading = _Reading(service, environment=environment, max_age_s=max_age_s)
    return [*_reading_routes(service, reading, environment), *_writing_routes(service, admin, environment)]


def _reading_routes(
    service: ConfigurationService, reading: "_Reading", environment_here: str
) -> list[ControllerRouterHandler]:
    @get("/configuration", tags=TAGS, sync_to_thread=False)
    def configured() -> ConfiguredResponse:
        """List the services that have keys, by environment."""
        return ConfiguredResponse(
            [
                ConfiguredMessage(
                    service=name, environment=environment, keys=len(namespace.values), version=namespace.version
                )
                for name, environment, namespace in service.namespaces()
            ]
        )

    @get("/configuration-schemas/{service_name:str}", tags=TAGS, sync_to_thread=False)
    def schema(service_name: ServicePath) -> SchemaMessage:
        """Return what a service declares of its keys; one that declares nothing takes any key."""
        return render.schema_message(service.schema(service_name))

    @get("/configuration/{service_name:str}", tags=TAGS, responses=_UNCHANGED)
    async def values(
        service_name: ServicePath,
        environment: EnvironmentQuery = None,
        limit: LimitQuery = PAGE,
        cursor: ValuesCursor = None,
        if_none_match: IfNoneMatch = None,
        prefer: Prefer = None,
    ) -> Response[ValuesResponse]:
        """Return a service's keys in an environment, with an entity tag."""
        return await reading.values(service_name, environment, if_none_match, prefer, limit=limit, cursor=cursor)

    @get("/configuration/{service_name:str}/{key:str}", tags=TAGS, responses=_UNCHANGED)
    async def value(
        service_name: ServicePath,
        key: KeyPath,
        environment: EnvironmentQuery = None,
        if_none_match: IfNoneMatch = None,
        prefer: Prefer = None,
    ) -> Response[ValueMessage]:
        """Return the value of a key, with an entity tag."""
        place = Place.of(service_name, environment or environment_here, key)
        return await reading.value(place, if_none_match, prefer)

    @get("/configuration/{service_name:str}/{key:str}/history", tags=TAGS)
    async def history(
        service_name: ServicePath,
        key: KeyPath,
        environment: EnvironmentQuery = None,
        limit: LimitQuery = 100,
        cursor: ChangesCursor = None,
    ) -> ChangesResponse:
        """Return the changes of a key, newest first, page by page: what, when, by whom, and why."""
        place = Place.of(service_name, environment or environment_here, key)
        if not service.was_ever_set(place):
            raise NotFound(f"{place.key} of {service_name} was never set", code="configuration_not_set", field="key")
        page = await service.history(
            ConfigurationQuery(
                service=place.service, environment=place.environment, key=place.key, limit=limit, cursor=cursor
            )
        )
        return ChangesResponse([render.change_message(change) for change in page.items], page.next_cursor)

    return [configured, schema, values, value, history]


def _writing_routes(
    service: ConfigurationService, admin: AdminKey, environment_here: str
) -> list[ControllerRouterHandler]:
    async def administrators(request: Request[Any, Any, Any]) -> None:
        admin.check(request.headers.get("authorization"))

    @put(
        "/configuration/{service_name:str}/{key:str}",
        tags=TAGS,
        security=ADMIN_SECURITY,
        before_request=administrators,
        dto=strict_body(ValueRequest),
        return_dto=None,
        responses=_CONFLICTS,
    )
    async def set_value(
        service_name: ServicePath,
        key: KeyPath,
        data: JSONBody[ValueRequest],
        environment: EnvironmentQuery = None,
        if_match: IfMatch = None,
        if_none_match: IfAbsent = None,
    ) -> Response[ValueMessage]:
        """Give a key a value; the one that it has already changes nothing."""
        place = Place.of(service_name, environment or environment_here, key)
        expected = _expected(service, place, if_match, if_none_match)
        wish = Wish(actor=ADMIN, comment=data.comment, expected_version=_one(expected, data.expected_version))
        kind = None if data.type is None else ValueType(data.type)
        change = await _conditional(service.set_value(place, data.value, wish, type=kind), expected)
        return Response(render.value_message(change), headers={"etag": entity_tag(change)})

    @delete(
        "/configuration/{service_name:str}/{key:str}",
        status_code=200,
        tags=TAGS,
        security=ADMIN_SECURITY,
        before_request=administrators,
        responses=_CONFLICTS,
    )
    async def delete_value(
        service_name: ServicePath,
        key: KeyPath,
        environment: EnvironmentQuery = None,
        comment: CommentQuery = None,
        if_match: IfMatch = None,
    ) -> ChangesResponse:
        """Delete a key: what it stands for goes back to its default. The answer is the change."""
        place = Place.of(service_name, environment or environment_here, key)
        expected = _expected(service, place, if_match, None)
        wish = Wish(actor=ADMIN, comment=_printable(comment), expected_version=expected)
        change = await _conditional(service.delete_value(place, wish), expected)
        return ChangesResponse([render.change_message(change)], None)

    @post(
        "/configuration/{service_name:str}/{key:str}/rollback",
        status_code=200,
        tags=TAGS,
        security=ADMIN_SECURITY,
        before_request=administrators,
        dto=strict_body(RollbackRequest),
        return_dto=None,
        responses=_CONFLICTS,
    )
    async def roll_back(
        service_name: ServicePath, key: KeyPath, data: JSONBody[RollbackRequest], environment: EnvironmentQuery = None
    ) -> Response[ValueMessage]:
        """Give a key the value that it had at a version."""
        place = Place.of(service_name, environment or environment_here, key)
        wish = Wish(actor=ADMIN, comment=data.comment, expected_version=data.expected_version)
        change = await service.roll_back(place, data.version, wish)
        return Response(render.value_message(change), headers={"etag": entity_tag(change)})

    return [set_value, delete_value, roll_back]


class _Reading:
    """Answer conditional questions, now or when there is something else to tell."""

    def __init__(self, service: ConfigurationService, *, environment: str, max_age_s: int) -> None:
        self._service = service
        self._environment = environment
        self._cache_control = f"max-age={max_age_s}"

    async def values(
        self,
        service_name: str,
        environment: str | None,
        if_none_match: str | None,
        prefer: str | None,
        *,
        limit: int,
        cursor: str | None,
    ) -> Response[ValuesResponse]:
        """Return a page of a service's keys."""
        environment = environment or self._environment
        namespace = await self._namespace(
            service_name, environment, lambda found: entity_tag(found.last), if_none_match, prefer
        )
        tag = entity_tag(namespace.last)
        if _is_known(tag, if_none_match):
            return self._unchanged(tag)
        rest = [change for change in namespace.sorted() if cursor is None or change.key > cursor]
        page = rest[:limit]
        return self._answer(
            ValuesResponse(
                service=service_name,
                environment=environment,
                version=namespace.version,
                values=[render.value_message(change) for change in page],
                next_cursor=page[-1].key if len(rest) > limit else None,
            ),
            tag,
        )

    async def value(self, place: Place, if_none_match: str | None, prefer: str | None) -> Response[ValueMessage]:
        """Return the value of a key. Raises: NotFound."""
        await self._namespace(
            place.service,
            place.environment,
            lambda found: entity_tag(found.values.get(place.key)),
            if_none_match,
            prefer,
        )
        change = self._service.value(place)
        tag = entity_tag(change)
        if _is_known(tag, if_none_match):
            return self._unchanged(tag)
        return self._answer(render.value_message(change), tag)

    async def _namespace(
        self,
        service_name: str,
        environment: str,
        tag_of: Callable[[Namespace], str],
        if_none_match: str | None,
        prefer: str | None,
    ) -> Namespace:
        """Return the keys: at once, or if their tag is known and the reader would wait, when it is another."""
        namespace = self._service.namespace(service_name, environment)
        wait_s = _wait_s(prefer)
        if wait_s and if_none_match != "*":
            # Where too many wait already, or the time is over, the answer is what there is.
            with suppress(TimeoutError, RateLimited):
                async with asyncio.timeout(wait_s):
                    while _is_known(tag_of(namespace), if_none_match) and not self._service.waiting.is_over:
                        namespace = await self._service.next_change(service_name, environment, namespace.version)
        return namespace

    def _answer(self, content: Any, tag: str) -> Response[Any]:
        return Response(content, headers={"etag": tag, "cache-control": self._cache_control})

    def _unchanged(self, tag: str) -> Response[Any]:
        return Response(None, status_code=304, headers={"etag": tag, "cache-control": self._cache_control})


def configuration_audit_routes(
    service: ConfigurationService, trail: AuditTrail, events: AuditRepository
) -> list[ControllerRouterHandler]:
    """Return the routes of the audit API: the audit trail, the internal state."""

    @get("/configuration/trail", tags=INTERNAL_TAGS)
    async def configuration_trail(
        start: Annotated[
            str | None, QueryParameter(name="start", description="The first time wanted, RFC 3339.")
        ] = None,
        end: Annotated[str | None, QueryParameter(name="end", description="The time to stop before, RFC 3339.")] = None,
        limit: LimitQuery = PAGE,
        cursor: ChangesCursor = None,
        event_type: Annotated[
            str | None, QueryParameter(name="type", description="Only events of this type.", max_length=128)
        ] = None,
    ) -> TrailResponse:
        """Return the audit trail as CloudEvents, oldest first, page by page."""
        await trail.flush()
        page = await events.query(
            AuditQuery(
                source=trail.source,
                type=event_type,
                start_ns=None if start is None else parse_time(start, field="start"),
                end_ns=None if end is None else parse_time(end, field="end"),
                limit=limit,
                cursor=cursor,
            )
        )
        return TrailResponse([event.cloud_event() for event in page.items], page.next_cursor)

    @get("/configuration/state", tags=INTERNAL_TAGS, sync_to_thread=False)
    def configuration_state() -> dict[str, Any]:
        """Return the internal state: versions, how many keys there are, whether the store is read."""
        return service.state()

    return [configuration_trail, configuration_state]


def _wait_s(prefer: str | None) -> int:
    found = _WAIT.search(prefer or "")
    return 0 if found is None else min(LONGEST_WAIT_S, int(found[1]))


def _is_known(tag: str, if_none_match: str | None) -> bool:
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)


def _expected(
    service: ConfigurationService, place: Place, if_match: str | None, if_none_match: str | None
) -> int | None:
    """Return the version that a change is for, as its conditions say; None if there is no condition.

    Raises: PreconditionFailed
    """
    present = service.namespace(place.service, place.environment).values.get(place.key)
    if if_none_match is not None:
        if present is not None and _is_known(entity_tag(present), if_none_match):
            raise PreconditionFailed(
                f"{place.key} of {place.service} is set: {entity_tag(present)}", field="If-None-Match"
            )
        return 0 if present is None else present.version
    if if_match is None:
        return None
    if present is None:
        raise PreconditionFailed(f"{place.key} of {place.service} is not set", field="If-Match")
    if if_match.strip() != "*" and entity_tag(present) not in _TAG.findall(if_match):
        raise PreconditionFailed(
            f"the tag of {place.key} of {place.service} is {entity_tag(present)}, not {if_match[:100]}",
            field="If-Match",
        )
    return present.version


def _one(by_header: int | None, by_body: int | None) -> int | None:
    if by_header is not None and by_body is not None and by_header != by_body:
        raise PreconditionFailed(
            f"If-Match is for version {by_header}, expected_version is {by_body}", field="If-Match"
        )
    return by_body if by_header is None else by_header


async def _conditional(change: Any, expected: int | None) -> ConfigurationChange:
    """Await a change; if somebody else's came in between, its condition has failed."""
    try:
        changed: ConfigurationChange = await change
    except Conflict as exc:
        if expected is not None and exc.code == "version_conflict":
            raise PreconditionFailed(exc.message) from exc
        raise
    return changed


def _printable(comment: str | None) -> str:
    if comment is not None and re.fullmatch(COMMENT_PATTERN, comment) is None:
        raise InvalidRequest("a comment has no control characters, and 500 characters at most", field="comment")
    return comment or ""
