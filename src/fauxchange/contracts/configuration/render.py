"""Render configuration as messages: JSON structures and protobuf."""

from typing import cast

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from fauxchange.contracts.configuration.messages import (
    ChangeMessage,
    DeclarationMessage,
    SchemaMessage,
    TypeName,
    ValueMessage,
)
from fauxchange.contracts.configuration.v1 import configuration_pb2 as pb
from fauxchange.domain.configuration import ConfigurationChange, ServiceSchema
from fauxchange.domain.times import NS_PER_S, format_time


def value_message(change: ConfigurationChange) -> ValueMessage:
    """Return the value that a change gave its key."""
    return ValueMessage(
        service=change.service,
        environment=change.environment,
        key=change.key,
        type=cast("TypeName", change.type),
        value=change.value,
        version=change.version,
        updated_at=format_time(change.ts_ns),
        updated_by=change.actor,
    )


def change_message(change: ConfigurationChange) -> ChangeMessage:
    """Return a change as a message."""
    return ChangeMessage(
        service=change.service,
        environment=change.environment,
        key=change.key,
        version=change.version,
        type=cast("TypeName", change.type),
        value=change.value,
        deleted=change.is_deletion,
        changed_at=format_time(change.ts_ns),
        changed_by=change.actor,
        trace_id=change.trace_id,
        comment=change.comment,
    )


def schema_message(schema: ServiceSchema) -> SchemaMessage:
    """Return a schema as a message."""
    return SchemaMessage(
        service=schema.service,
        open=schema.is_open,
        declarations=[
            DeclarationMessage(
                name=each.name,
                type=each.type.value,
                description=each.description,
                minimum=each.minimum,
                maximum=each.maximum,
                choices=list(each.choices),
                pattern=each.pattern,
            )
            for each in schema.declarations
        ],
    )


def change_proto(change: ConfigurationChange) -> pb.Change:
    """Return a change as protobuf; a value is JSON text."""
    seconds, nanos = divmod(change.ts_ns, NS_PER_S)
    return pb.Change(
        service=change.service,
        environment=change.environment,
        key=change.key,
        version=change.version,
        type=change.type,
        value_json="" if change.is_deletion else msgspec.json.encode(change.value).decode(),
        deleted=change.is_deletion,
        changed_at=Timestamp(seconds=seconds, nanos=nanos),
        changed_by=change.actor,
        trace_id=change.trace_id,
        comment=change.comment,
    )
