"""docs/schema/openapi.json and openapi-internal.json: the HTTP endpoints of the two listeners."""

import json

from edge.openapi import internal_document, public_document


def render_public() -> str:
    """Return the text of the public listener's file."""
    return json.dumps(public_document(), indent=2, ensure_ascii=False) + "\n"


def render_internal() -> str:
    """Return the text of the internal listener's file."""
    return json.dumps(internal_document(), indent=2, ensure_ascii=False) + "\n"
