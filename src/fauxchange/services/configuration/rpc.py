"""Configuration over gRPC: parse, ask the service, render; and the stream of changes."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import Message

from fauxchange.contracts.configuration import render
from fauxchange.contracts.configuration.messages import COMMENT_PATTERN
from fauxchange.contracts.configuration.v1 import configuration_pb2 as pb
from fauxchange.data.ports import MAX_PAGE, ConfigurationQuery
from fauxchange.domain.configuration import (
    ENVIRONMENT_PATTERN,
    KEY_PATTERN,
    SERVICE_PATTERN,
    ConfigurationChange,
    ValueType,
)
from fauxchange.domain.errors import InvalidRequest, Unavailable
from fauxchange.platform.administration import AdminKey
from fauxchange.services.configuration.core.state import Namespace
from fauxchange.services.configuration.service.configuration import ConfigurationService, Place, Wish

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["ConfigurationService"].full_name
ADMIN = "admin"
DEFAULT_LIMIT = 1_000
DEFAULT_HISTORY = 100
CHANGES_AT_ONCE = 1_000

Context = grpc.aio.ServicerContext[Any, Any]


class ConfigurationRpc:
    """The gRPC edge. Units: heartbeat_s in seconds of wall time."""

    def __init__(self, service: ConfigurationService, admin: AdminKey, *, environment: str, heartbeat_s: float) -> None:
        self._service = service
        self._admin = admin
        self._environment = environment
        self._heartbeat_s = heartbeat_s

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handlers of all methods."""
        unary: dict[str, tuple[Callable[..., Any], Any]] = {
            "ListValues": (self.list_values, pb.ListValuesRequest),
            "GetValue": (self.get_value, pb.GetValueRequest),
            "SetValue": (self.set_value, pb.SetValueRequest),
            "DeleteValue": (self.delete_value, pb.DeleteValueRequest),
            "RollBack": (self.roll_back, pb.RollBackRequest),
            "ListHistory": (self.list_history, pb.ListHistoryRequest),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                behaviour, request_deserializer=request.FromString, response_serializer=_serialise
            )
            for name, (behaviour, request) in unary.items()
        }
        handlers["WatchValues"] = grpc.unary_stream_rpc_method_handler(
            self.watch_values, request_deserializer=pb.WatchValuesRequest.FromString, response_serializer=_serialise
        )
        return grpc.method_handlers_generic_handler(SERVICE_NAME, handlers)

    # Questions

    async def list_values(self, request: pb.ListValuesRequest, context: Context) -> pb.ListValuesResponse:  # noqa: ARG002
        """Answer with a page of a service's keys."""
        limit = _limit(request.limit, DEFAULT_LIMIT)
        namespace = self._service.namespace(_service(request), self._environment_of(request))
        rest = [change for change in namespace.sorted() if change.key > request.cursor]
        page = rest[:limit]
        return pb.ListValuesResponse(
            version=namespace.version,
            values=[render.change_proto(change) for change in page],
            next_cursor=page[-1].key if len(rest) > limit else "",
        )

    async def get_value(self, request: pb.GetValueRequest, context: Context) -> pb.Change:  # noqa: ARG002
        """Answer with what a key is set to."""
        return render.change_proto(self._service.value(self._place(request)))

    async def list_history(self, request: pb.ListHistoryRequest, context: Context) -> pb.ListHistoryResponse:  # noqa: ARG002
        """Answer with a page of a key's changes."""
        place = self._place(request)
        page = await self._service.history(
            ConfigurationQuery(
                service=place.service,
                environment=place.environment,
                key=place.key,
                limit=_limit(request.limit, DEFAULT_HISTORY),
                cursor=request.cursor or None,
            )
        )
        return pb.ListHistoryResponse(
            changes=[render.change_proto(change) for change in page.items], next_cursor=page.next_cursor or ""
        )

    # Changes

    async def set_value(self, request: pb.SetValueRequest, context: Context) -> pb.Change:
        """Give a key a value."""
        self._check_admin(context)
        place = self._place(request)
        kind = _type(request.type) if request.type else None
        return render.change_proto(
            await self._service.set_value(place, _value(request.value_json), _wish(request), type=kind)
        )

    async def delete_value(self, request: pb.DeleteValueRequest, context: Context) -> pb.Change:
        """Delete a key."""
        self._check_admin(context)
        return render.change_proto(await self._service.delete_value(self._place(request), _wish(request)))

    async def roll_back(self, request: pb.RollBackRequest, context: Context) -> pb.Change:
        """Give a key the value that it had at a version."""
        self._check_admin(context)
        return render.change_proto(await self._service.roll_back(self._place(request), request.version, _wish(request)))

    # The stream

    async def watch_values(
        self,
        request: pb.WatchValuesRequest,
        context: Context,  # noqa: ARG002
    ) -> AsyncIterator[pb.WatchValuesResponse]:
        """Stream the keys as they are, or what the caller lacks, and then every change.

        Raises: Unavailable when the process stops, RateLimited if too many wait
        """
        service_name, environment = _service(request), self._environment_of(request)
        namespace = self._service.namespace(service_name, environment)
        reached = request.after_version if request.HasField("after_version") else None
        if reached is None or reached > namespace.version:
            # Of a greater version than there is: the store began to count anew.
            reached = namespace.version
            yield _snapshot(namespace)
        elif reached == namespace.version:
            yield pb.WatchValuesResponse(version=reached)
        while True:
            if namespace.version != reached:
                response = await self._since(service_name, environment, namespace, reached)
                reached = response.version
                yield response
                namespace = self._service.namespace(service_name, environment)
                continue
            if self._service.waiting.is_over:
                raise Unavailable("the server is shutting down; resume with another", code="server_shutdown")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    namespace = await self._service.next_change(service_name, environment, reached)
            if namespace.version == reached and not self._service.waiting.is_over:
                yield pb.WatchValuesResponse(version=reached)

    async def _since(
        self, service_name: str, environment: str, namespace: Namespace, reached: int
    ) -> pb.WatchValuesResponse:
        """Return the changes after a version; all keys as they are where those cannot be had."""
        if namespace.version < reached:
            return _snapshot(namespace)
        query = ConfigurationQuery(
            service=service_name, environment=environment, after=reached, oldest_first=True, limit=CHANGES_AT_ONCE
        )
        try:
            changes: Sequence[ConfigurationChange] = (await self._service.history(query)).items
        except Unavailable:
            changes = ()
        if not changes:
            return _snapshot(namespace)
        return pb.WatchValuesResponse(
            version=changes[-1].version, changes=[render.change_proto(change) for change in changes]
        )

    def _check_admin(self, context: Context) -> None:
        given = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        self._admin.check(given.get("authorization"))

    def _environment_of(self, request: Any) -> str:
        return _matching(request.environment or self._environment, ENVIRONMENT_PATTERN, "environment")

    def _place(self, request: Any) -> Place:
        key = _matching(request.key, KEY_PATTERN, "key")
        return Place.of(_service(request), self._environment_of(request), key)


def _snapshot(namespace: Namespace) -> pb.WatchValuesResponse:
    return pb.WatchValuesResponse(
        version=namespace.version, snapshot=True, changes=[render.change_proto(each) for each in namespace.sorted()]
    )


def _service(request: Any) -> str:
    return _matching(request.service, SERVICE_PATTERN, "service")


def _matching(text: str, pattern: str, field: str) -> str:
    if re.fullmatch(pattern, text) is None:
        raise InvalidRequest(f"{field} looks like {pattern}, not like {text[:64]!r}", field=field)
    return text


def _wish(request: Any) -> Wish:
    expected = request.expected_version if request.HasField("expected_version") else None
    comment = _matching(request.comment, COMMENT_PATTERN, "comment")
    return Wish(actor=ADMIN, comment=comment, expected_version=expected)


def _type(name: str) -> ValueType:
    try:
        return ValueType(name)
    except ValueError as exc:
        raise InvalidRequest(
            f"a type is one of {', '.join(ValueType)}, not {name!r}", code="invalid_choice", field="type"
        ) from exc


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise InvalidRequest("value_json is not JSON", code="malformed_body", field="value_json") from exc


def _limit(given: int, default: int) -> int:
    limit = given or default
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidRequest(
            f"limit {limit} is out of range; ask for 1 to {MAX_PAGE}", code="limit_out_of_range", field="limit"
        )
    return limit


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
