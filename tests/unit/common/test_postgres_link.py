"""Reading a database's URL, and telling failures in one line without the password."""

import pytest
from asyncpg import exceptions

from common.errors import SettingsError, StoreUnavailable
from common.postgres_link import check_url, describe, explain_refusal, without_password

URL = "postgresql://ada:hunter2@db:5432/rooms?sslmode=require&password=hunter2"


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "postgres://db/x",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://u:p@a:5432,b:5433/x",
        "postgresql://[::1]:5/x",
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url", ["", "db", "mysql://db/x", "postgresql+asyncpg://db/x", "postgresql://db:port/x", "postgresql://[::1/x"]
)
def test_urls_that_are_not(url: str) -> None:
    with pytest.raises(SettingsError, match="is not a PostgreSQL URL"):
        check_url(url)


def test_a_password_is_shown_nowhere() -> None:
    assert without_password(URL) == "postgresql://db:5432/rooms"


@pytest.mark.parametrize(
    ("cause", "kind", "part"),
    [
        (exceptions.InvalidPasswordError("no"), SettingsError, "user or password"),
        (exceptions.InvalidCatalogNameError("no"), SettingsError, "there is no such database"),
        (exceptions.ClientConfigurationError("bad\noption"), SettingsError, "(bad option)"),
        (
            exceptions.TooManyConnectionsError("too many\nclients"),
            StoreUnavailable,
            "TooManyConnectionsError: too many clients",
        ),
        (TimeoutError(), StoreUnavailable, "PostgreSQL: TimeoutError"),
    ],
)
def test_a_refusal_says_what_to_do_in_one_line(cause: Exception, kind: type[Exception], part: str) -> None:
    told = explain_refusal(URL, cause)
    assert type(told) is kind
    assert part in str(told)
    assert "\n" not in str(told)
    assert "hunter2" not in str(told)


def test_an_error_without_text_has_its_name() -> None:
    assert describe(TimeoutError()) == "PostgreSQL: TimeoutError"
