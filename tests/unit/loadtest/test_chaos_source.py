"""Code that changed during a run is told from code that did not."""

from pathlib import Path

from loadtest.chaos.source import code_digest


def test_the_digest_is_that_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "a.py").write_text("one")
    before = code_digest(tmp_path, ["edge"])
    (tmp_path / "edge" / "notes.txt").write_text("no code")
    assert code_digest(tmp_path, ["edge"]) == before
    (tmp_path / "edge" / "a.py").write_text("two")
    changed = code_digest(tmp_path, ["edge"])
    (tmp_path / "edge" / "a.py").rename(tmp_path / "edge" / "b.py")
    assert len({before, changed, code_digest(tmp_path, ["edge"])}) == 3
