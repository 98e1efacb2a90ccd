"""What configuration looks like as JSON. A value has the JSON form of its type: decimals and durations are text."""

from typing import Annotated, Any, Literal

import msgspec

from fauxchange.contracts.market_data.messages import TimeText
from fauxchange.domain.configuration import ENVIRONMENT_PATTERN, KEY_PATTERN, SERVICE_PATTERN

ServiceText = Annotated[str, msgspec.Meta(pattern=SERVICE_PATTERN, description="A service.", examples=["market-data"])]
EnvironmentText = Annotated[
    str, msgspec.Meta(pattern=ENVIRONMENT_PATTERN, description="An environment.", examples=["development"])
]
KeyText = Annotated[str, msgspec.Meta(pattern=KEY_PATTERN, description="A key.", examples=["spread_bps.BTC-USD"])]
TypeName = Literal["str", "int", "float", "decimal", "bool", "duration", "list", "json"]
VersionNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
COMMENT_PATTERN = r"^[^\x00-\x1f\x7f]{0,500}$"
CommentText = Annotated[str, msgspec.Meta(pattern=COMMENT_PATTERN)]


class ValueMessage(msgspec.Struct, kw_only=True):
    """The value of a key, and the change that it comes from: `version` is that change's number."""

    service: ServiceText
    environment: EnvironmentText
    key: KeyText
    type: TypeName
    value: Any
    version: int
    updated_at: TimeText
    updated_by: str


class ValuesResponse(msgspec.Struct, kw_only=True):
    """A service's keys in an environment, in alphabetical order; `version` is that of their last change, 0 for none.

    `next_cursor` is null on the last page.
    """

    service: ServiceText
    environment: EnvironmentText
    version: int
    values: list[ValueMessage]
    next_cursor: str | None


class ChangeMessage(msgspec.Struct, kw_only=True):
    """One change: the value that a key was given, or that it was deleted (`value` is null then)."""

    service: ServiceText
    environment: EnvironmentText
    key: KeyText
    version: int
    type: TypeName
    value: Any
    deleted: bool
    changed_at: TimeText
    changed_by: str
    trace_id: str
    comment: str


class ChangesResponse(msgspec.Struct):
    """A page of a key's changes, newest first; `next_cursor` is null on the last page."""

    changes: list[ChangeMessage]
    next_cursor: str | None


class ConfiguredMessage(msgspec.Struct, kw_only=True):
    """A service that has keys in an environment: how many, and the version of their last change."""

    service: ServiceText
    environment: EnvironmentText
    keys: int
    version: int


class ConfiguredResponse(msgspec.Struct):
    """Every service that has keys, in alphabetical order."""

    services: list[ConfiguredMessage]


class DeclarationMessage(msgspec.Struct, kw_only=True):
    """What a service says of a key, or with a name that ends in `.*` of all keys with that beginning."""

    name: str
    type: TypeName
    description: str
    minimum: str | None
    maximum: str | None
    choices: list[str]
    pattern: str | None


class SchemaMessage(msgspec.Struct, kw_only=True):
    """The keys that a service declares; only an open one takes others besides."""

    service: ServiceText
    open: bool
    declarations: list[DeclarationMessage]


class ValueRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The value that a key is to have.

    Without a `type` it is read as what the key is declared to be, else as what it has been, else as what it is.
    `expected_version` is that of the key as the caller knows it, 0 if it should not be set.
    """

    value: Any
    type: TypeName | None = None
    expected_version: VersionNumber | None = None
    comment: CommentText = ""


class RollbackRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The version to whose value a key is to return; `expected_version` is the key's as the caller knows it."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    expected_version: VersionNumber | None = None
    comment: CommentText = ""
