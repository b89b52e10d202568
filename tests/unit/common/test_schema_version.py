"""What is said where the database and the release do not fit."""

import pytest

from common.errors import SchemaMismatch
from common.schema_version import SCHEMA_VERSION, check_schema_version


def test_the_same_version_is_fine() -> None:
    check_schema_version(SCHEMA_VERSION)


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        (None, ("is empty", SCHEMA_VERSION, "run: roomring migrate up")),
        ("0000", ("0000", SCHEMA_VERSION, "back it up", "run: roomring migrate up")),
        ("9999", ("9999", SCHEMA_VERSION, "newer release", f"roomring migrate down {SCHEMA_VERSION}")),
    ],
)
def test_another_is_told_in_one_line_with_both_versions_and_what_to_do(found: str | None, parts: tuple[str]) -> None:
    with pytest.raises(SchemaMismatch) as raised:
        check_schema_version(found)
    assert "\n" not in str(raised.value)
    for part in parts:
        assert part in str(raised.value)
