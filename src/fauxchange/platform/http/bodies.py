"""Bodies that are read strictly: in one step from JSON to the struct, and nothing is taken for what it is not.

The framework's own way is lenient (`"1"` passes for 1, `1` for true) and goes through a dictionary.
"""

import re
from collections.abc import Generator
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.typing import FieldDefinition

from fauxchange.domain.errors import InvalidRequest

Body = TypeVar("Body")

_NOT_QUICK = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`")
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`")


class StrictBody(AbstractDTO[Any]):
    """A body that is read strictly; `strict_body` makes one for each kind."""

    decoder: ClassVar[msgspec.json.Decoder[Any]]
    quick: ClassVar[msgspec.json.Decoder[Any] | None] = None

    def decode_bytes(self, value: bytes) -> Any:
        """Return the body. Raises: InvalidRequest."""
        return self.read(value)

    @classmethod
    def read(cls, value: bytes) -> Any:
        """Return the body. Raises: InvalidRequest."""
        if cls.quick is not None:
            try:
                return cls.quick.decode(value)
            except _NOT_QUICK:
                # What is wrong, if anything is, the other decoder tells.
                pass
        return decode_body(cls.decoder, value)

    @classmethod
    def create_for_field_definition(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        backend_cls: Any = None,
    ) -> None:
        """Do nothing: there is nothing to be made for a route."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:  # noqa: ARG003 - the struct is its own schema
        """Return the schema of the body."""
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition, None, None]:  # noqa: ARG003 - as it is declared
        """Yield nothing: the struct is taken as it is."""
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003 - as it is declared
        """Return False: the struct is taken as it is."""
        return False


def strict_body(kind: type[Any], *, quick: type[Any] | None = None) -> type[StrictBody]:
    """Return what a route passes as `dto=` to have its `data`, of this kind, read strictly.

    `quick` is a kind of `kind` that is decoded quicker; bodies that it refuses are judged by `kind`.
    """
    decoders = {"decoder": msgspec.json.Decoder(kind), "quick": None if quick is None else msgspec.json.Decoder(quick)}
    return type(f"{kind.__name__}Body", (StrictBody,), decoders)


def decode_body(decoder: "msgspec.json.Decoder[Body]", body: bytes) -> Body:
    """Return what a JSON body says. Raises: InvalidRequest that names the field that is wrong."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        if "got `float`" in str(exc):
            return _with_whole_numbers(decoder, body)
        raise _refusal(str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidRequest("the body is not valid JSON", code="malformed_body") from exc
    except RecursionError as exc:
        raise InvalidRequest("the body is nested too deeply", code="malformed_body", field="body") from exc


def _with_whole_numbers(decoder: "msgspec.json.Decoder[Body]", body: bytes) -> Body:
    """Decode again: by JSON Schema, and so by the document, 1.0 is an integer."""
    try:
        return decoder.decode(msgspec.json.encode(_whole(msgspec.json.decode(body))))
    except msgspec.ValidationError as exc:
        raise _refusal(str(exc)) from exc


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    return [_whole(inner) for inner in value] if isinstance(value, list) else value


def _refusal(text: str) -> InvalidRequest:
    at = _PATH.search(text)
    path = "" if at is None else at[1]
    message = text if at is None else text[: at.start()]
    if unknown := _UNKNOWN_FIELD.fullmatch(message):
        return InvalidRequest(f"there is no field {unknown[1]}", code="unknown_field", field=_joined(path, unknown[1]))
    if missing := _MISSING_FIELD.fullmatch(message):
        field = _joined(path, missing[1])
        return InvalidRequest(f"the body has no {field}", code="missing_field", field=field)
    field = path or "body"
    return InvalidRequest(f"{field}: {message[0].lower()}{message[1:]}", field=field)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
