"""docs/schema/roomring.v1.json: JSON Schema of every message in both directions, with the envelopes."""

import json
from typing import Any, Final

import msgspec

from common.messages import CLIENT_MESSAGES, PROTOCOL_VERSION, SERVER_EVENTS, ServerEvent
from deploy.generators.declarations import HTTP_BODIES, text_of

_POSITION: Final = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}


def schema() -> dict[str, Any]:
    """Return the schema. `$defs/ClientMessage` and `$defs/ServerEvent` are the two directions."""
    _, components = msgspec.json.schema_components(
        [*CLIENT_MESSAGES, *SERVER_EVENTS, *HTTP_BODIES], ref_template="#/$defs/{name}"
    )
    definitions: dict[str, Any] = {name: _tidy(component) for name, component in components.items()}
    envelopes = {f"{event.__name__}Envelope": _envelope(event) for event in SERVER_EVENTS}
    assert not envelopes.keys() & definitions.keys()
    definitions |= envelopes
    definitions["ClientMessage"] = {
        "description": "Whatever a client sends.",
        "oneOf": [_reference(message.__name__) for message in CLIENT_MESSAGES],
    }
    definitions["ServerEvent"] = {
        "description": "Whatever a server sends.",
        "oneOf": [_reference(name) for name in envelopes],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Roomring protocol, version {PROTOCOL_VERSION}",
        "description": "One text frame. Generated from common/messages.py; unknown fields are allowed and ignored.",
        "oneOf": [_reference("ClientMessage"), _reference("ServerEvent")],
        "$defs": dict(sorted(definitions.items())),
    }


def render() -> str:
    """Return the file's text."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _envelope(event: type[ServerEvent]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "v": {"const": PROTOCOL_VERSION},
        "t": {"const": event.t},
        "ts": {"type": "integer", "description": "Server's time, milliseconds since 1970."},
        "seq": {**_POSITION, "description": "Place in the room's order."},
        "epoch": {**_POSITION, "description": "Which order `seq` counts in."},
        "re": {"type": "string", "maxLength": 64, "description": "`id` of the message that this answers."},
        "replay": {"const": True, "description": "The event is sent again, after a resume."},
        "payload": _reference(event.__name__),
    }
    required = ["v", "t", "ts", "payload"] + (["seq", "epoch"] if event.reliable else [])
    return {
        "title": f"{event.__name__}Envelope",
        "description": text_of(event),
        "type": "object",
        "properties": properties,
        "required": required,
        "dependentRequired": {"seq": ["epoch"], "epoch": ["seq"]},
    }


def _tidy(component: Any) -> Any:
    """Put `number` for "an integer or a number", which says the same and matches `oneOf` only once."""
    if isinstance(component, dict):
        match component.get("anyOf"):
            case [{"type": "integer", **bounds}, {"type": "number", **same}] if bounds == same:
                rest = {key: value for key, value in component.items() if key != "anyOf"}
                return {**rest, "type": "number", **bounds}
        return {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _tidy(value)
            for key, value in component.items()
        }
    if isinstance(component, list):
        return [_tidy(item) for item in component]
    return component


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}
