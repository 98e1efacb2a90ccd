"""What may be asked of another service: its methods, and which of them may be asked a second time.

A read may be repeated. A write may be repeated only if the request carries a key by which the service knows it again;
every other write is made once, whatever becomes of it. The tables name every method, so that a new one is a choice.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from fauxchange.domain.errors import check

Repeatable = Callable[[Any], bool]
"""Say of a request whether the same one may be made twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a service; `deadline_s` (seconds) is what it is given where the caller names none."""

    name: str
    path: str
    answers_stream: bool
    repeatable: Repeatable
    serialize: Callable[[Any], bytes]
    deserialize: Callable[[bytes], Any]
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A service that others call: its name, its name in the registry, and its methods.

    `health_name` is what its health is asked by.
    """

    name: str
    registered_name: str
    health_name: str
    methods: Mapping[str, Method] = field(repr=False)

    def method(self, name: str, *, answers_stream: bool) -> Method:
        """Return a method by name; it is a bug to ask for one that there is not, or for the wrong kind."""
        method = self.methods.get(name)
        if method is None or method.answers_stream != answers_stream:
            kind = "stream" if answers_stream else "unary method"
            check(False, f"{self.name} has no {kind} {name}")
            raise AssertionError  # never reached: `check` has raised
        return method


def peer_of(
    service: ServiceDescriptor,
    *,
    name: str,
    registered_name: str,
    reads: Iterable[str],
    keyed: Mapping[str, Repeatable] | None = None,
    writes: Iterable[str] = (),
    deadlines_s: Mapping[str, float] | None = None,
) -> Peer:
    """Return the peer of a service as generated code describes it.

    `reads` may be repeated, `keyed` where the request carries its key, `writes` never. Methods whose requests are
    streams are left out: nobody but their caller knows how to go on with them.
    """
    told: dict[str, Repeatable] = {
        **dict.fromkeys(reads, always),
        **(keyed or {}),
        **dict.fromkeys(writes, never),
    }
    callable_methods = {method.name: method for method in service.methods if not method.client_streaming}
    check(told.keys() == callable_methods.keys(), f"every method of {service.full_name} is named once, and no other")
    methods = {
        method_name: _method(descriptor, told[method_name], (deadlines_s or {}).get(method_name))
        for method_name, descriptor in callable_methods.items()
    }
    return Peer(name=name, registered_name=registered_name, health_name=service.full_name, methods=methods)


def always(_request: Any) -> bool:
    """Say of a read that it may be repeated."""
    return True


def never(_request: Any) -> bool:
    """Say of a write that it must not be repeated."""
    return False


def with_field(name: str) -> Repeatable:
    """Return what says of a write that it may be repeated where this field of the request is not empty."""
    return lambda request: bool(getattr(request, name))


def _method(descriptor: MethodDescriptor, repeatable: Repeatable, deadline_s: float | None) -> Method:
    request_type = message_factory.GetMessageClass(descriptor.input_type)
    response_type = message_factory.GetMessageClass(descriptor.output_type)
    return Method(
        name=descriptor.name,
        path=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        answers_stream=descriptor.server_streaming,
        repeatable=repeatable,
        serialize=request_type.SerializeToString,
        deserialize=response_type.FromString,
        deadline_s=deadline_s,
    )
