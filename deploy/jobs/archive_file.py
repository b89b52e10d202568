"""Files of archived messages: gzip-compressed JSON Lines, one message a line, all columns by their names.

Owns the form of the files and how they come to be on the disk: whole or not at all. Which file counts is the
table `archives`' to say. Everything here blocks; call it from a thread.
"""

import gzip
import hashlib
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from common.errors import RoomringError
from deploy.jobs.erased_rooms import Erased, new_room_id

SUFFIX: Final = ".jsonl.gz"
_PART: Final = ".part"
_LEVEL: Final = 6
"""Of gzip. 9 takes four times as long for two per cent."""

_decode_line = msgspec.json.Decoder(dict[str, Any]).decode


class ArchiveDamaged(RoomringError):
    """A file is missing, or not what its row in `archives` says. The text is one line and names the file."""


class Written(NamedTuple):
    """A file as it was written."""

    size: int
    sha256: str


def new_name(kind: str, first_at: datetime, chance: str) -> str:
    """Return the name of a file; `chance` keeps names apart, also those of several databases in one folder."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", kind)
    return f"{safe}-{first_at.astimezone(UTC):%Y%m%dT%H%M%S}-{chance}{SUFFIX}"


def write(folder: Path, name: str, lines: Iterable[str]) -> Written:
    """Write a file; when this returns, it will be there after a loss of power as well.

    Raises:
        OSError: the disk is full, or the folder cannot be written. Nothing of that name is there.
    """
    data = gzip.compress("".join(f"{line}\n" for line in lines).encode(), _LEVEL, mtime=0)
    part = folder / f"{name}{_PART}"
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.rename(folder / name)
    _sync_folder(folder)
    return Written(len(data), hashlib.sha256(data).hexdigest())


def remove(folder: Path, name: str) -> None:
    """Remove a file, and what may be there of one that was being written. One that is not there is no error."""
    (folder / name).unlink(missing_ok=True)
    (folder / f"{name}{_PART}").unlink(missing_ok=True)
    _sync_folder(folder)


def read(folder: Path, name: str, sha256: str) -> list[str]:
    """Return the lines of a file.

    Raises:
        ArchiveDamaged: it is not there, or not the one that was written.
    """
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise ArchiveDamaged(f"{name}: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArchiveDamaged(f"{name}: its content is not what was written (sha256 differs)")
    # Not splitlines(): a message may hold other line breaks than the line feed, which JSON does not escape.
    return gzip.decompress(data).decode().split("\n")[:-1]


def times(lines: list[str]) -> tuple[datetime, datetime]:
    """Return when the first and the last of some messages were sent."""
    sent = [datetime.fromisoformat(_decode_line(line)["sent_at"]) for line in lines]
    return min(sent), max(sent)


def erase(lines: list[str], erased: Erased, now: datetime) -> tuple[list[str], int]:
    """Erase a person from lines, as `deploy.jobs.erasure` does it in the table. Returns them, and how many changed."""
    # A cheap look first: most lines have nothing to do with the person. Without quotes, for ids of rooms.
    needle = msgspec.json.encode(erased.user_id).decode()[1:-1]
    result, count = [], 0
    for line in lines:
        if needle in line:
            message = _decode_line(line)
            if erase_message(message, erased, now):
                count += 1
                line = msgspec.json.encode(message).decode()  # noqa: PLW2901
        result.append(line)
    return result, count


def erase_message(message: dict[str, Any], erased: Erased, now: datetime) -> bool:
    """Erase a person from one message, by columns; False: there was nothing to erase."""
    touched = False
    # First: whose the thread is stands in the columns that follow.
    new_id = new_room_id(message["room_id"], (message["author_id"], message["recipient_id"]), erased)
    if new_id is not None:
        message["room_id"] = new_id
        touched = True
    if message["author_id"] == erased.user_id:
        message |= {"author_id": erased.pseudonym, "author_name": "", "text": ""}
        message["deleted_at"] = message["deleted_at"] or now.isoformat()
        touched = True
    for column in ("recipient_id", "deleted_by"):
        if message[column] == erased.user_id:
            message[column] = erased.pseudonym
            touched = True
    return touched


def unknown_files(folder: Path, known: Iterable[str]) -> list[str]:
    """Return the names of archives in the folder that are not among the known ones, half-written ones too."""
    names = set(known)
    endings = (SUFFIX, SUFFIX + _PART)
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(endings) and path.name not in names)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
