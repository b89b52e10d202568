"""The listeners of a process."""

import asyncio

import pytest
from aiohttp import web

from common.process import listen


async def test_what_strangers_send_as_http_is_refused_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A header with a NUL drew a traceback at level ERROR that showed the header, whatever was in it."""
    runner = await listen(web.Application(), "127.0.0.1", 0, "ROOMRING_PORT")
    try:
        host, port = runner.addresses[0][:2]
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\0\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    finally:
        await runner.cleanup()
    assert "s3cret" not in caplog.text
    assert not caplog.records


async def test_what_fails_here_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_request: web.Request) -> web.Response:
        raise RuntimeError("a bug")

    app = web.Application()
    app.router.add_get("/", fail)
    runner = await listen(app, "127.0.0.1", 0, "ROOMRING_PORT")
    try:
        host, port = runner.addresses[0][:2]
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 500 " in await reader.readline()
        writer.close()
    finally:
        await runner.cleanup()
    assert "a bug" in caplog.text
