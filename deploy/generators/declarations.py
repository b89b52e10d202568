"""The declared messages as plain values, for the generators: fields with their type, bounds and description."""

import inspect as docs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import NODEFAULT, Struct, inspect

from common.errors import AuthErrorCode, ErrorCode, RejectionCode
from common.messages import (
    CLIENT_MESSAGES,
    SERVER_EVENTS,
    AuditEntry,
    AuditPage,
    ClaimRequest,
    ClientMessage,
    JoinRequest,
    JoinResponse,
    MessagePage,
    ModerationRequest,
    NotePage,
    PostMessageRequest,
    PostMessageResponse,
    QueueItem,
    QueuePage,
    ReportView,
    ResolveRequest,
    ThreadPage,
    ThreadView,
)

HTTP_BODIES: Final[tuple[type[Struct], ...]] = (
    JoinRequest,
    JoinResponse,
    MessagePage,
    PostMessageRequest,
    PostMessageResponse,
    ThreadPage,
    ThreadView,
    NotePage,
    ModerationRequest,
    QueuePage,
    QueueItem,
    ReportView,
    ClaimRequest,
    ResolveRequest,
    AuditPage,
    AuditEntry,
)
CODE_ENUMS: Final = (ErrorCode, RejectionCode, AuthErrorCode)
_SAFE_INTEGER: Final = 2**53


@dataclass(frozen=True)
class DeclaredField:
    """One field of a message. `type` is without its description; `bounds` is text, empty where there are none."""

    name: str
    type: inspect.Type
    required: bool
    description: str
    bounds: str


def fields_of(struct: type[Struct]) -> list[DeclaredField]:
    """Return the fields of a struct in their order."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    result = []
    for field in info.fields:
        kind, description = strip(field.type)
        required = field.required and field.default is NODEFAULT
        result.append(DeclaredField(field.encode_name, kind, required, description, bounds_of(kind)))
    return result


def strip(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """Take the description off a type."""
    description = ""
    while isinstance(kind, inspect.Metadata):
        description = description or str((kind.extra_json_schema or {}).get("description", ""))
        kind = kind.type
    return kind, description


def bounds_of(kind: inspect.Type) -> str:
    """Say what values a type allows, beyond its kind."""
    match kind:
        case inspect.StrType(min_length=low, max_length=high, pattern=pattern):
            sizes = _range(low, high, "characters")
            return ", ".join(part for part in (sizes, f"pattern `{pattern}`" if pattern else "") if part)
        case inspect.IntType(ge=low, le=high, gt=above) | inspect.FloatType(ge=low, le=high, gt=above):
            if above is not None:
                return f"above {_number(above)}" + ("" if high is None else f", at most {_number(high)}")
            return _range(low, high, "")
        case _:
            return ""


def payload_of(message: type[ClientMessage]) -> type[Struct]:
    """Return the payload's struct of a client message."""
    (payload,) = (field.type for field in fields_of(message) if field.name == "payload")
    assert isinstance(payload, inspect.StructType)
    return payload.cls


def tag_of(message: type[ClientMessage]) -> str:
    """Return the event name `t` of a client message."""
    return str(message.__struct_config__.tag)


def text_of(thing: type) -> str:
    """Return the docstring in one line."""
    return " ".join((docs.getdoc(thing) or "").split())


def nested(structs: Iterable[type[Struct]]) -> list[type[Struct]]:
    """Return the structs inside these, each once, in order of appearance, without these themselves."""
    outer = list(structs)
    found: dict[type[Struct], None] = {}
    for struct in outer:
        for field in fields_of(struct):
            for inner in _structs_in(field.type):
                if inner not in outer:
                    found.setdefault(inner)
                    found.update(dict.fromkeys(nested([inner])))
    return list(found)


def all_payloads() -> list[type[Struct]]:
    """Return every payload and HTTP body, client messages first."""
    return [*(payload_of(message) for message in CLIENT_MESSAGES), *SERVER_EVENTS, *HTTP_BODIES]


def _structs_in(kind: inspect.Type) -> Iterator[type[Struct]]:
    kind, _ = strip(kind)
    match kind:
        case inspect.StructType(cls=cls):
            yield cls
        case inspect.ListType(item_type=item):
            yield from _structs_in(item)
        case inspect.UnionType(types=types):
            for one in types:
                yield from _structs_in(one)
        case _:
            return


def _range(low: float | None, high: float | None, unit: str) -> str:
    tail = f" {unit}" if unit else ""
    if low is None and high is None:
        return ""
    if high is None:
        return f"at least {_number(low)}{tail}"
    if low is None:
        return f"at most {_number(high)}{tail}"
    return f"{_number(low)} to {_number(high)}{tail}"


def _number(value: float | None) -> str:
    assert value is not None
    if abs(value) == _SAFE_INTEGER:
        return "-2^53" if value < 0 else "2^53"
    if value == _SAFE_INTEGER - 1:
        return "2^53 - 1"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"
