"""A gRPC client of a service that it knows by name alone: messages and methods come from the server's reflection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fauxchange.domain.errors import NotFound

REFLECTION_TIMEOUT_S = 10.0


class ReflectedService:
    """One service as its server describes it; no generated code is needed."""

    def __init__(self, channel: grpc.aio.Channel, descriptor: ServiceDescriptor) -> None:
        self._channel = channel
        self._descriptor = descriptor

    @classmethod
    async def discover(cls, channel: grpc.aio.Channel, name: str) -> "ReflectedService":
        """Ask the server for a service; `name` is its full name or the last part of it.

        Raises: NotFound if no service or more than one goes by the name
        """
        async with asyncio.timeout(REFLECTION_TIMEOUT_S):
            listed = await _asked(channel, reflection_pb2.ServerReflectionRequest(list_services=""))
            names = [service.name for service in listed.list_services_response.service]
            found = [full for full in names if full == name or full.rpartition(".")[2] == name]
            if len(found) != 1:
                raise NotFound(f"no one service {name} among {', '.join(names)}", code="unknown_service")
            request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=found[0])
            pool = await _described(channel, request)
        return cls(channel, pool.FindServiceByName(found[0]))

    @property
    def methods(self) -> list[str]:
        """The names of the methods."""
        return [method.name for method in self._descriptor.methods]

    def request(self, method: str, **fields: Any) -> Any:
        """Return the request message of a method; nested messages are given as dicts."""
        return message_factory.GetMessageClass(self._method(method).input_type)(**fields)

    def call(self, method: str, **fields: Any) -> Any:
        """Start a call: await it if it answers once, iterate over it if it streams."""
        descriptor = self._method(method)
        path = f"/{self._descriptor.full_name}/{method}"
        answer = message_factory.GetMessageClass(descriptor.output_type)
        make = self._channel.unary_stream if descriptor.server_streaming else self._channel.unary_unary
        caller: Any = make(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return caller(self.request(method, **fields))

    def _method(self, name: str) -> MethodDescriptor:
        method: MethodDescriptor | None = self._descriptor.methods_by_name.get(name)
        if method is None:
            raise NotFound(f"{self._descriptor.full_name} has no method {name}", code="unknown_method")
        return method


async def _described(channel: grpc.aio.Channel, request: Any) -> descriptor_pool.DescriptorPool:
    """Return a pool with the file that holds the asked symbol and everything that it needs."""
    answer = await _asked(channel, request)
    files = {}
    waiting = [descriptor_pb2.FileDescriptorProto.FromString(raw) for raw in _files(answer)]
    while waiting:
        file = waiting.pop()
        files[file.name] = file
        for name in file.dependency:
            if name not in files and all(name != other.name for other in waiting):
                further = await _asked(channel, reflection_pb2.ServerReflectionRequest(file_by_filename=name))
                waiting += [descriptor_pb2.FileDescriptorProto.FromString(raw) for raw in _files(further)]
    pool = descriptor_pool.DescriptorPool()
    for name in files:
        _add(pool, files, name, set())
    return pool


def _add(
    pool: descriptor_pool.DescriptorPool,
    files: dict[str, descriptor_pb2.FileDescriptorProto],
    name: str,
    added: set[str],
) -> None:
    """Add a file after those it imports; adding the same one again changes nothing."""
    if name in added:
        return
    added.add(name)
    for dependency in files[name].dependency:
        _add(pool, files, dependency, added)
    pool.Add(files[name])


async def _asked(channel: grpc.aio.Channel, request: Any) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    async def once() -> AsyncIterator[Any]:
        yield request

    async for answer in stub.ServerReflectionInfo(once()):
        if answer.HasField("error_response"):
            raise NotFound(answer.error_response.error_message, code="unknown_service")
        return answer
    raise NotFound("the server did not answer a question about itself", code="unknown_service")


def _files(answer: Any) -> list[bytes]:
    return list(answer.file_descriptor_response.file_descriptor_proto)
