"""Where the job library keeps its queue, and which release of its tables the installed one needs."""

from importlib import resources
from typing import Final

JOBS_SCHEMA: Final = "roomring_jobs"
"""Schema of the library's tables, apart from ours: its names would stand among them, and it goes as a whole."""


def library_version() -> str:
    """Return what the installed job library's tables are called: the last of the changes that come with it."""
    files = resources.files("procrastinate.sql").joinpath("migrations").iterdir()
    last = max(file.name for file in files if file.name.endswith(".sql"))
    return f"procrastinate {last.removesuffix('.sql')}"
