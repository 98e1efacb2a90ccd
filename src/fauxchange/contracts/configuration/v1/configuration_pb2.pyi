import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Change(_message.Message):
    __slots__ = ("service", "environment", "key", "version", "type", "value_json", "deleted", "changed_at", "changed_by", "trace_id", "comment")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_BY_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    key: str
    version: int
    type: str
    value_json: str
    deleted: bool
    changed_at: _timestamp_pb2.Timestamp
    changed_by: str
    trace_id: str
    comment: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ..., type: _Optional[str] = ..., value_json: _Optional[str] = ..., deleted: _Optional[bool] = ..., changed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., changed_by: _Optional[str] = ..., trace_id: _Optional[str] = ..., comment: _Optional[str] = ...) -> None: ...

class ListValuesRequest(_message.Message):
    __slots__ = ("service", "environment", "limit", "cursor")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    limit: int
    cursor: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListValuesResponse(_message.Message):
    __slots__ = ("version", "values", "next_cursor")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    version: int
    values: _containers.RepeatedCompositeFieldContainer[Change]
    next_cursor: str
    def __init__(self, version: _Optional[int] = ..., values: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class GetValueRequest(_message.Message):
    __slots__ = ("service", "environment", "key")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    key: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class SetValueRequest(_message.Message):
    __slots__ = ("service", "environment", "key", "value_json", "type", "expected_version", "comment")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_JSON_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    key: str
    value_json: str
    type: str
    expected_version: int
    comment: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., key: _Optional[str] = ..., value_json: _Optional[str] = ..., type: _Optional[str] = ..., expected_version: _Optional[int] = ..., comment: _Optional[str] = ...) -> None: ...

class DeleteValueRequest(_message.Message):
    __slots__ = ("service", "environment", "key", "expected_version", "comment")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    key: str
    expected_version: int
    comment: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., key: _Optional[str] = ..., expected_version: _Optional[int] = ..., comment: _Optional[str] = ...) -> None: ...

class RollBackRequest(_message.Message):
    __slots__ = ("service", "environment", "key", "version", "expected_version", "comment")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMENT_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    key: str
    version: int
    expected_version: int
    comment: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ..., expected_version: _Optional[int] = ..., comment: _Optional[str] = ...) -> None: ...

class ListHistoryRequest(_message.Message):
    __slots__ = ("service", "environment", "key", "limit", "cursor")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    key: str
    limit: int
    cursor: str
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., key: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListHistoryResponse(_message.Message):
    __slots__ = ("changes", "next_cursor")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    next_cursor: str
    def __init__(self, changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class WatchValuesRequest(_message.Message):
    __slots__ = ("service", "environment", "after_version")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    service: str
    environment: str
    after_version: int
    def __init__(self, service: _Optional[str] = ..., environment: _Optional[str] = ..., after_version: _Optional[int] = ...) -> None: ...

class WatchValuesResponse(_message.Message):
    __slots__ = ("version", "snapshot", "changes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    version: int
    snapshot: bool
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, version: _Optional[int] = ..., snapshot: _Optional[bool] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...
