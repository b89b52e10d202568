"""HTTP for tests: one request, one answer, the path sent as it is written."""

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["error"]["code"])


async def call(
    method: str, url: str, body: Any = None, *, headers: dict[str, str] | None = None, key: str | None = None
) -> Answer:
    """Send a request. `body`: bytes as they are, anything else as JSON. `key`: the bearer."""
    sent = dict(headers or {})
    if key is not None:
        sent["Authorization"] = f"Bearer {key}"
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    return await asyncio.to_thread(_call, method, url, body, sent)


def _call(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
    scheme, _, rest = url.partition("://")
    assert scheme == "http"
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, "/" + rest.partition("/")[2], body=body, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
