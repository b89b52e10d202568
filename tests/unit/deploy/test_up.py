"""What `roomring up` shows of the children's logs."""

import io
import json
from typing import Any

import pytest

from deploy.up import Terminal, render


def plain(text: str, _colour: str) -> str:
    return text


def line(**entry: Any) -> bytes:
    return json.dumps({"time": "2026-01-02T03:04:05.678Z", "event": "hello", "level": "info", **entry}).encode()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_below_warning_only_where_verbose(level: str) -> None:
    assert render(line(level=level), verbose=False, paint=plain) is None
    assert render(line(level=level), verbose=True, paint=plain) == f"03:04:05 {level} hello"


def test_a_warning_shows_its_details_but_not_who_it_is() -> None:
    shown = render(
        line(level="warning", room="plaza", count=3, node="e1", role="edge", logger="x"), verbose=False, paint=plain
    )
    assert shown == "03:04:05 warning hello room=plaza count=3"


def test_a_traceback_is_shown_below() -> None:
    shown = render(line(level="error", exception="Traceback\nValueError: no"), verbose=False, paint=plain)
    assert shown == "03:04:05 error hello\nTraceback\nValueError: no"


@pytest.mark.parametrize("text", [b"plain text", b"[1, 2]", b'{"no": "event"}', b"12"])
def test_what_is_no_log_line_is_shown_as_it_is(text: bytes) -> None:
    assert render(text, verbose=False, paint=plain) == text.decode()


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert render(b"a\x1b[2Jb\xff", verbose=False, paint=plain) == "a?[2Jb\ufffd"


def test_names_stand_before_every_line_and_there_is_no_colour_without_a_terminal() -> None:
    out = io.StringIO()
    terminal = Terminal(out, verbose=True)
    terminal.line("worker-1", line(exception="a\nb"))
    terminal.notice("worker-1 runs again")
    assert out.getvalue() == (
        "worker-1 | 03:04:05 info hello\nworker-1 | a\nworker-1 | b\nroomring | worker-1 runs again\n"
    )


def test_a_closed_output_is_no_failure() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    Terminal(Closed(), verbose=True).notice("nobody reads this")
