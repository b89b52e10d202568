"""What a log line looks like, and what it must not show."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from common import log


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(log_format: str = "json", log_level: str = "info", **ids: Any) -> io.StringIO:
    stream = io.StringIO()
    log.configure(log_format, log_level, stream=stream, **ids)
    return stream


def test_json_line_carries_ids_level_logger_and_utc_time() -> None:
    stream = configured(role="edge", node="e1")
    log.get_logger("edge.connections").info("connection opened", conn=7)
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "connection opened",
        "level": "info",
        "logger": "edge.connections",
        "role": "edge",
        "node": "e1",
        "conn": 7,
    }


def test_a_logger_made_before_configure_follows_it() -> None:
    early = log.get_logger("early")
    first, second = configured(), configured()
    early.info("hello")
    assert first.getvalue() == ""
    assert lines(second)[0]["event"] == "hello"


def test_lines_below_the_level_are_dropped() -> None:
    stream = configured(log_level="warning")
    log.get_logger("x").info("no")
    log.get_logger("x").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize(
    "key",
    ["token", "Authorization", "text", "secret", "realtimeToken", "realtime_token", "token_secret", "admin_key"],
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_credentials_and_texts_are_redacted(key: str, log_format: str) -> None:
    stream = configured(log_format)
    log.get_logger("x").warning("refused", **{key: "hunter2"})
    log.get_logger("x").warning("refused", payload={"deep": [{key: "hunter2"}]})
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count(log.REDACTED) == 2


def test_numbers_are_not_credentials() -> None:
    stream = configured()
    log.get_logger("x").info("lease taken", token=12, lease_token=13, key=None)
    (line,) = lines(stream)
    assert (line["token"], line["lease_token"], line["key"]) == (12, 13, None)


def test_what_is_nested_too_deeply_is_not_written() -> None:
    stream = configured()
    value: Any = "hunter2"
    for _ in range(50):
        value = {"a": value}
    log.get_logger("x").info("deep", value=value)
    assert "hunter2" not in stream.getvalue()


def test_standard_logging_comes_out_in_the_same_form_from_warning_up() -> None:
    stream = configured(log_level="debug", role="worker")
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("aiohttp.server").warning("odd request from %s", "somewhere")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["role"]) == (
        "odd request from somewhere",
        "aiohttp.server",
        "warning",
        "worker",
    )


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_tracebacks_show_no_local_variables(log_format: str) -> None:
    stream = configured(log_format)

    def fail(token: str) -> None:
        raise ValueError("no good")

    try:
        fail("".join(("hunt", "er2")))
    except ValueError:
        log.get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed too")
    assert stream.getvalue().count("ValueError: no good") >= 2
    assert "hunter2" not in stream.getvalue()


def test_configuring_twice_does_not_double_the_lines() -> None:
    configured()
    stream = configured()
    logging.getLogger("z").error("once")
    assert len(lines(stream)) == 1
