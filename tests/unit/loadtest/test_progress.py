import io

from loadtest.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream, "space")
    progress.show("joining")
    progress.processes({"edge": 0.5})
    progress.clear()
    assert stream.getvalue() == ""


def test_each_text_is_written_over_the_one_before_and_cleared() -> None:
    stream = Terminal()
    progress = Progress(stream, "space")
    progress.show("joining")
    progress.show("measuring")
    progress.clear()
    assert stream.getvalue().split("\r\x1b[K") == ["", "space 0:00 | joining", "space 0:00 | measuring", ""]


def test_the_line_tells_time_text_and_cores_and_keeps_to_the_terminal() -> None:
    progress = Progress(io.StringIO(), "space")
    progress.show("measuring\x1b[31m")
    progress.processes({"edge": 0.5, "worker": 1.254})
    assert progress.line(75.2, 100) == "space 1:15 | measuring[31m | cores: edge 0.50 worker 1.25"
    assert progress.line(75.2, 20) == "space 1:15 | mea..."
