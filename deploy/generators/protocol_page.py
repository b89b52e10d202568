"""docs/protocol.md: the prose of deploy/templates/protocol.md with tables made from the declarations.

In the template, `{{name}}` stands for a generated part, `{{default:ROOMRING_X}}` for the default of a setting,
and `{{number:ROOMRING_X}}` for the same without its unit.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, inspect

from common.errors import AUTH_ERROR_MEANING, CLOSE_MEANING, ERROR_MEANING, REJECTION_MEANING
from common.ids import ROOM_ID_PATTERN
from common.messages import CLIENT_MESSAGES, FRAME_BYTES_MAX, SERVER_EVENTS, SUBPROTOCOL
from deploy.generators.declarations import (
    HTTP_BODIES,
    bounds_of,
    fields_of,
    nested,
    payload_of,
    strip,
    tag_of,
    text_of,
)
from deploy.generators.settings_page import default_of

_PLACE: Final = re.compile(r"\{\{([a-z_]+)(?::([A-Z_]+))?\}\}")

Samples = Mapping[str, Any]
"""Event name -> the wire sample that the page shows."""


def render(template: str, samples: Samples) -> str:
    """Fill the template in.

    Args:
        samples: from tests/golden, so that every example of the page is tested.

    Raises:
        KeyError: the template names a part or setting that does not exist.
    """
    parts: dict[str, Callable[[], str]] = {
        "subprotocol": lambda: SUBPROTOCOL,
        "frame_bytes": lambda: f"{FRAME_BYTES_MAX:,}",
        "room_id_pattern": lambda: ROOM_ID_PATTERN.removesuffix(r"(?!\n)"),
        "client_list": lambda: _list((tag_of(message), message) for message in CLIENT_MESSAGES),
        "server_list": lambda: _list((event.t, event) for event in SERVER_EVENTS),
        "client_messages": lambda: _client_messages(samples),
        "server_events": lambda: _server_events(samples),
        "shared_structs": _shared_structs,
        "http_bodies": _http_bodies,
        "error_codes": lambda: _codes(ERROR_MEANING),
        "rejection_codes": lambda: _codes(REJECTION_MEANING),
        "auth_error_codes": lambda: _codes(AUTH_ERROR_MEANING),
        "close_codes": lambda: _codes(CLOSE_MEANING),
    }

    def fill(match: re.Match[str]) -> str:
        name, argument = match.groups()
        if name in ("default", "number"):
            return default_of(argument, with_unit=name == "default")
        return parts[name]()

    return _PLACE.sub(fill, template)


def _client_messages(samples: Samples) -> str:
    sections = []
    for message in CLIENT_MESSAGES:
        name = tag_of(message)
        sections.append(
            f"### `{name}`\n\n{text_of(message)}\n\nAnswer: {message.answer}.\n\n"
            f"{_table(payload_of(message))}\n{_sample(samples[name])}"
        )
    return "\n".join(sections).rstrip()


def _server_events(samples: Samples) -> str:
    sections = []
    for event in SERVER_EVENTS:
        kind = "Reliable: carries `seq` and `epoch`.\n\n" if event.reliable else ""
        sections.append(f"### `{event.t}`\n\n{text_of(event)}\n\n{kind}{_table(event)}\n{_sample(samples[event.t])}")
    return "\n".join(sections).rstrip()


def _shared_structs() -> str:
    payloads = [*(payload_of(message) for message in CLIENT_MESSAGES), *SERVER_EVENTS]
    return "\n".join(_titled(struct) for struct in nested(payloads)).rstrip()


def _http_bodies() -> str:
    return "\n".join(_titled(struct) for struct in HTTP_BODIES).rstrip()


def _titled(struct: type[Struct]) -> str:
    return f"### {struct.__name__}\n\n{text_of(struct)}\n\n{_table(struct)}"


def _list(rows: "Iterable[tuple[str, type]]") -> str:
    lines = ["| `t` | |", "|---|---|"]
    lines += [f"| [`{name}`](#{name}) | {text_of(struct)} |" for name, struct in rows]
    return "\n".join(lines)


def _codes(meanings: "Mapping[Any, str]") -> str:
    lines = ["| code | meaning |", "|---|---|"]
    lines += [f"| `{code.value}` | {meaning} |" for code, meaning in meanings.items()]
    return "\n".join(lines)


def _table(struct: type[Struct]) -> str:
    lines = ["| field | type | bounds | required | description |", "|---|---|---|---|---|"]
    for field in fields_of(struct):
        described = field.description or _description_of(field.type)
        cells = (
            f"`{field.name}`",
            _type(field.type),
            field.bounds.removesuffix("(?!\\n)`") + "`" if field.bounds.endswith("(?!\\n)`") else field.bounds,
            "yes" if field.required else "no",
            described,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _description_of(kind: inspect.Type) -> str:
    match kind:
        case inspect.StructType(cls=cls):
            return text_of(cls)
        case inspect.EnumType():
            return "See [codes](#codes)."
        case _:
            return ""


def _type(kind: inspect.Type) -> str:
    kind, _ = strip(kind)
    match kind:
        case inspect.StrType():
            text = "string"
        case inspect.IntType():
            text = "integer"
        case inspect.FloatType():
            text = "number"
        case inspect.BoolType():
            text = "boolean"
        case inspect.LiteralType(values=values):
            text = ", ".join(f"`{value}`" for value in values)
        case inspect.EnumType():
            text = "code"
        case inspect.StructType(cls=cls):
            text = f"[{cls.__name__}](#{cls.__name__.lower()})"
        case inspect.ListType(item_type=item):
            text = f"list of {_type(item)}"
        case inspect.DictType():
            text = "object"
        case inspect.UnionType():
            # The only union of the declarations is that of whole numbers and others.
            text = "number"
        case _:
            raise NotImplementedError(f"no word is known for {kind}; {bounds_of(kind)}")
    return text


def _sample(sample: Any) -> str:
    return f"```json\n{json.dumps(sample, ensure_ascii=False)}\n```\n"
