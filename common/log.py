"""Logging, set up once in each process: what a line looks like, and what must never be in one.

Lines are written to standard error: one JSON object each (`json`), or coloured text (`console`). Every line
carries the ids given to `configure`, a UTC time and the level. The standard library's loggers (aiohttp,
asyncio, redis) come out in the same form, from WARNING up.

Invariant: the value of a key that names a credential or a person's words is never written; see `redact`.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
_SECRET_KEYS: Final = frozenset({"token", "authorization", "text", "secret", "password", "key"})
_SECRET_ENDINGS: Final = ("_token", "_secret", "_password", "_key", "-key", "token", "secret")
_DEPTH_MAX: Final = 6
"""Deeper values are not looked into, and not written either; no line of ours nests more than twice."""

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(log_format: str, log_level: str, *, stream: TextIO | None = None, **ids: Any) -> None:
    """Set up logging for this process. Calling it again replaces the earlier set-up.

    Args:
        log_format: `json`, `console`, or `auto`: console where the stream is a terminal.
        log_level: `debug`, `info`, `warning` or `error`; what is below it costs next to nothing.
        stream: standard error where None.
        ids: bound to every line, for example `role="edge", node="e-1f3a"`.
    """
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    as_json = log_format == "json" or (log_format == "auto" and not terminal)
    level = _LEVELS[log_level]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _Ids(ids),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    # Without `plain_traceback` the console renderer uses the package rich where it is installed, and that
    # prints the local variables of every frame, with tokens and texts among them.
    last: list[Processor] = (
        [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if as_json
        else [
            redact,
            structlog.dev.ConsoleRenderer(
                colors=terminal, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(out),
        # False, so that a second `configure` also reaches the loggers that modules made at import.
        cache_logger_on_first_use=False,
    )
    _route_standard_logging(out, shared, last, max(level, logging.WARNING))


def get_logger(name: str) -> FilteringBoundLogger:
    """Return a logger whose lines carry `logger=name`. May be called before `configure`."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the values of keys that name credentials or a person's words, at any depth.

    Numbers, booleans and None stay: the fencing token of a lease is a number, and no credential is one.
    """
    for key, value in event.items():
        event[key] = _cleaned(key, value, 0)
    return event


class _Ids:
    """Processor: the ids of this process, where a line does not say otherwise, and the logger's name.

    `logger` itself cannot be bound in `get_logger`: structlog has a parameter of that name.
    """

    def __init__(self, ids: Mapping[str, Any]) -> None:
        self._ids = dict(ids)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in self._ids.items():
            event.setdefault(key, value)
        if "logger_name" in event:
            event["logger"] = event.pop("logger_name")
        return event


def _cleaned(key: object, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(key, str) and _is_secret(key):
        return REDACTED
    if depth >= _DEPTH_MAX:
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: _cleaned(inner, item, depth + 1) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned("", item, depth + 1) for item in value]
    return value


def _is_secret(key: str) -> bool:
    lowered = key.lower()
    return lowered in _SECRET_KEYS or lowered.endswith(_SECRET_ENDINGS)


def _route_standard_logging(out: TextIO, shared: list[Processor], last: list[Processor], level: int) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
