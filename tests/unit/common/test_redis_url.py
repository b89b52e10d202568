"""Where Redis is, in all forms that a URL of it may have."""

import pytest

from common.errors import SettingsError
from common.redis_url import parse_redis_url


@pytest.mark.parametrize(
    "text", ["redis://127.0.0.1:6379/0", "rediss://u:p@cache/3?ssl_cert_reqs=none", "unix:///run/redis.sock"]
)
def test_a_plain_one_is_one_server(text: str) -> None:
    url = parse_redis_url(text)
    assert (url.form, url.text, url.places) == ("server", text, ())


def test_sentinels_and_what_they_call_the_primary() -> None:
    url = parse_redis_url("redis+sentinel://ann:s%40crt@one,two:7000,[::1]:7001/rooms/2")
    assert url.form == "sentinel"
    assert url.places == (("one", 26379), ("two", 7000), ("::1", 7001))
    assert url.service == "rooms"
    assert url.server(("ten", 1)) == "redis://ann:s%40crt@ten:1/2"
    assert url.server(("::2", 1)) == "redis://ann:s%40crt@[::2]:1/2"


def test_options_are_the_servers_but_for_those_of_the_sentinels() -> None:
    url = parse_redis_url("rediss+sentinel://one/rooms?sentinel_username=s&ssl_cert_reqs=none&sentinel_password=a%26b")
    assert (url.sentinel_username, url.sentinel_password) == ("s", "a&b")
    assert url.server(("ten", 1)) == "rediss://ten:1/0?ssl_cert_reqs=none"


def test_nodes_of_a_cluster() -> None:
    url = parse_redis_url("redis+cluster://:p@one:7000,two")
    assert (url.form, url.places) == ("cluster", (("one", 7000), ("two", 6379)))
    assert url.server(("ten", 1)) == "redis://:p@ten:1/0"
    assert parse_redis_url("rediss+cluster://one/0").server(("ten", 1)) == "rediss://ten:1/0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://ann:hidden@one/0?password=hidden", "redis://one/0"),
        ("redis+sentinel://ann:hidden@one,two/rooms?sentinel_password=hidden", "redis+sentinel://one,two/rooms"),
        ("redis+cluster://one", "redis+cluster://one"),
    ],
)
def test_what_is_shown_has_no_password(text: str, shown: str) -> None:
    assert str(parse_redis_url(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "redis",
        "http://hidden@one",
        "redis+proxy://hidden@one",
        "unix+cluster://one",
        "redis+sentinel://hidden@one",
        "redis+sentinel:///rooms",
        "redis+sentinel://one,,two/rooms",
        "redis+sentinel://one:port/rooms",
        "redis+sentinel://one:0/rooms",
        "redis+sentinel://one/rooms/zero",
        "redis+cluster://",
        "redis+cluster://one:70000",
        "redis+cluster://one/1",
    ],
)
def test_a_wrong_one_is_one_line_that_says_what_to_do_and_hides_the_password(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^ROOMRING_REDIS_URL .*; write for example redis") as raised:
        parse_redis_url(text)
    assert "\n" not in str(raised.value)
    assert "hidden" not in str(raised.value)
