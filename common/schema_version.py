"""The version of the database that this release works with, and what to say where it meets another one.

Versions are the numbers of the steps in common/migrations/versions. Pure.
"""

from typing import Final

from common.errors import SchemaMismatch

SCHEMA_VERSION: Final = "0014"
"""The last step. A test compares it with the files, so that a process need not load Alembic to know it."""

VERSION_TABLE: Final = "roomring_schema"
"""Not Alembic's own name, so that the database may be shared with an application that uses Alembic as well."""

VERSION_QUERY: Final = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant
"""Fails, or gives no row, where the database is empty."""


def check_schema_version(found: str | None) -> None:
    """Compare a database's version with this release's.

    Args:
        found: None where the database is empty.

    Raises:
        SchemaMismatch: they differ. One line that says what to do.
    """
    if found == SCHEMA_VERSION:
        return
    if found is None:
        raise SchemaMismatch(
            f"the database is empty and this release needs version {SCHEMA_VERSION}; run: roomring migrate up"
        )
    if found < SCHEMA_VERSION:
        raise SchemaMismatch(
            f"the database is of version {found} and this release needs {SCHEMA_VERSION}; "
            "back it up, then run: roomring migrate up"
        )
    raise SchemaMismatch(
        f"the database is of version {found} and this release needs {SCHEMA_VERSION}, which is older; run a newer "
        f"release, whose `roomring migrate up` made it, or with that one: roomring migrate down {SCHEMA_VERSION}"
    )
