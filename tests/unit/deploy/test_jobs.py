"""The parts of jobs that need no database: files, times, tables, when a job is tried again."""

import argparse
import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from procrastinate.jobs import Job

from common.arguments import moment
from common.errors import SettingsError
from common.ids import RoomId, UserId, inbox_of, is_room_id, thread_of, thread_pair
from common.settings import JobsSettings, load
from deploy.jobs import archive_file, queue
from deploy.jobs.archive_file import ArchiveDamaged
from deploy.jobs.commands import table
from deploy.jobs.erased_rooms import Erased
from deploy.jobs.time_ranges import open_ranges
from deploy.jobs.work import Interrupted

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ANY_LINE = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


# --- settings -------------------------------------------------------------------------------------------


def settings(**environ: str) -> JobsSettings:
    return load(JobsSettings, {"ROOMRING_ARCHIVE_DIR": "archives", **environ})


def test_a_kind_of_its_own_wins() -> None:
    found = settings(ROOMRING_RETENTION_DAYS="7", ROOMRING_RETENTION_DAYS_BY_KIND="lobby=90, dm = 0,")
    assert [found.retention_days_of(kind) for kind in ("lobby", "dm", "space")] == [90, 0, 7]


@pytest.mark.parametrize("text", ["lobby", "lobby=", "lobby=-1", "lobby=1;dm=2", "lobby=1,lobby=2", "=3", "a:b=1"])
def test_a_wrong_list_of_kinds_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="ROOMRING_RETENTION_DAYS_BY_KIND"):
        settings(ROOMRING_RETENTION_DAYS_BY_KIND=text)


def test_nothing_is_deleted_without_a_place_for_archives() -> None:
    load(JobsSettings, {})
    for setting in ({"ROOMRING_RETENTION_DAYS": "7"}, {"ROOMRING_RETENTION_DAYS_BY_KIND": "lobby=7"}):
        with pytest.raises(SettingsError, match="ROOMRING_ARCHIVE_DIR"):
            load(JobsSettings, setting)
    load(JobsSettings, {"ROOMRING_RETENTION_DAYS_BY_KIND": "lobby=0"})


# --- times ----------------------------------------------------------------------------------------------

days = st.integers(0, 20).map(lambda number: NOW - timedelta(days=number))
held_ranges = st.lists(st.tuples(days, days).map(lambda pair: (min(pair), max(pair))), max_size=6)


@given(held_ranges, days)
def test_open_ranges_are_all_that_is_old_and_not_held(held: list[tuple[datetime, datetime]], before: datetime) -> None:
    ranges = open_ranges(before, held)
    for quarter in range(-4, 22 * 4):
        at = NOW - timedelta(days=quarter / 4)
        is_open = sum((after is None or at > after) and at < end for after, end in ranges)
        assert is_open == (at < before and not any(first <= at <= last for first, last in held))
    assert ranges == sorted(ranges, key=lambda found: found.before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        ("2026-05-01T14:00+02:00", NOW),
    ],
)
def test_moments(text: str, expected: datetime) -> None:
    assert moment(text) == expected
    with pytest.raises(argparse.ArgumentTypeError, match="2026-03-31"):
        moment("soon")


# --- files ----------------------------------------------------------------------------------------------


@given(st.lists(ANY_LINE, min_size=1, max_size=5))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = tmp_path_factory.mktemp("archives")
    written = archive_file.write(folder, "a.jsonl.gz", lines)
    assert archive_file.read(folder, "a.jsonl.gz", written.sha256) == lines
    assert written.size == (folder / "a.jsonl.gz").stat().st_size
    assert gzip.decompress((folder / "a.jsonl.gz").read_bytes()).decode() == "".join(f"{line}\n" for line in lines)
    assert [path.name for path in folder.iterdir()] == ["a.jsonl.gz"]


def test_files_that_nobody_knows_are_told_and_half_written_ones_are_removed(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz", "b.jsonl.gz.part", "notes.txt"):
        (tmp_path / name).touch()
    assert archive_file.unknown_files(tmp_path, ["a.jsonl.gz"]) == ["b.jsonl.gz", "b.jsonl.gz.part"]
    archive_file.remove(tmp_path, "b.jsonl.gz")
    archive_file.remove(tmp_path, "b.jsonl.gz")
    assert archive_file.unknown_files(tmp_path, []) == ["a.jsonl.gz"]
    with pytest.raises(ArchiveDamaged, match=r"b\.jsonl\.gz"):
        archive_file.read(tmp_path, "b.jsonl.gz", "")


def test_a_name_tells_kind_and_time_and_leads_nowhere_else() -> None:
    assert archive_file.new_name("lobby", NOW, "c0ffee") == "lobby-20260501T120000-c0ffee.jsonl.gz"
    assert archive_file.new_name("..", NOW, "x").startswith("__-")


ERASED = Erased(UserId("eve"), "erased-1", b"key")


def line(**columns: Any) -> str:
    message = {"room_id": "lobby:a", "author_id": "ada", "author_name": "Ada", "text": "hi", "recipient_id": None}
    message |= {"deleted_at": None, "deleted_by": None}
    return json.dumps(message | columns, ensure_ascii=False)


def test_only_lines_of_the_person_change() -> None:
    by_eve = line(author_id="eve", author_name="Eve", seq=2**62)
    about_eve = [line(text='said "eve"'), line(author_id="eve2"), line(author_name="eve")]
    removed = line(deleted_by="eve", deleted_at="2026-01-01T00:00:00+00:00")
    lines, count = archive_file.erase([by_eve, *about_eve, removed], ERASED, NOW)
    assert count == 2
    assert lines[1:-1] == about_eve
    assert json.loads(lines[0]) == {
        "room_id": "lobby:a",
        "author_id": "erased-1",
        "recipient_id": None,
        "author_name": "",
        "text": "",
        "deleted_at": NOW.isoformat(),
        "deleted_by": None,
        "seq": 2**62,
    }
    assert json.loads(lines[-1])["deleted_by"] == "erased-1"
    assert archive_file.erase(lines, ERASED, NOW) == (lines, 0)


def test_lines_of_the_persons_threads_get_the_new_id_of_the_thread() -> None:
    hashed = thread_of(UserId("eve"), UserId("zoë"))
    to_eve = line(room_id="dm:ada:eve", recipient_id="eve")
    from_eve = line(room_id=hashed, author_id="eve", recipient_id="zoë")
    others = [line(room_id="dm:ada:eve2", recipient_id="eve2"), line(room_id="dm:steve:ada")]
    lines, count = archive_file.erase([to_eve, from_eve, *others], ERASED, NOW)
    assert (count, lines[2:]) == (2, others)
    first, second = json.loads(lines[0]), json.loads(lines[1])
    assert (first["room_id"], first["recipient_id"]) == (ERASED.new_id(RoomId("dm:ada:eve")), "erased-1")
    assert (first["text"], first["author_id"]) == ("hi", "ada")
    assert (second["room_id"], second["recipient_id"]) == (ERASED.new_id(hashed), "zoë")
    assert archive_file.erase(lines, ERASED, NOW) == (lines, 0)


def test_new_ids_of_rooms_are_ids_that_name_nobody() -> None:
    with_ada = thread_of(UserId("ada"), UserId("eve"))
    thread, inbox = ERASED.new_id(with_ada), ERASED.new_id(inbox_of(UserId("eve")))
    assert re.fullmatch("dm::[0-9a-f]{40}", thread)
    assert re.fullmatch("user::[0-9a-f]{32}", inbox)
    assert is_room_id(thread)
    assert thread_pair(thread) is None
    assert ERASED._replace(room_key=b"other").new_id(with_ada) != thread


# --- the queue ------------------------------------------------------------------------------------------


def job(attempts: int) -> Job:
    return Job(id=1, queue=queue.QUEUE, lock=None, queueing_lock=None, task_name="x", attempts=attempts)


def pause_s(error: BaseException, attempts: int) -> float | None:
    decision = queue.Repeat().get_retry_decision(exception=error, job=job(attempts))
    if decision is None:
        return None
    assert decision.retry_at is not None
    return round((decision.retry_at - datetime.now(UTC)).total_seconds())


def test_pauses_double_and_then_a_job_has_failed() -> None:
    assert [pause_s(OSError(), attempts) for attempts in range(4)] == [5, 10, 20, 40]
    last = queue.ATTEMPTS_MAX - 1
    assert pause_s(OSError(), last - 1) is not None
    assert pause_s(OSError(), last) is None


def test_one_that_was_interrupted_goes_on_at_once_however_often() -> None:
    assert pause_s(Interrupted("x"), 0) == pause_s(Interrupted("x"), queue.ATTEMPTS_MAX) == 0


# --- commands -------------------------------------------------------------------------------------------


def test_tables() -> None:
    assert table(("id", "name", "at"), [[7, "a", ""], [12, "bcdef", "x y"]]) == ("id  name   at\n 7  a\n12  bcdef  x y")
    assert table(("id", "name"), []) == "id  name"
