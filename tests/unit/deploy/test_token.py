"""The claims that `roomring token` puts into a token."""

import argparse
from typing import Any

import pytest

from common.errors import SettingsError
from common.settings import EdgeSettings
from deploy.token import claims

SETTINGS = EdgeSettings(dev=True, token_issuer="me", token_audience="you")


def arguments(**given: Any) -> argparse.Namespace:
    defaults = {"user": "alice", "room": ["plaza"], "name": None, "avatar": None, "device": "desktop", "role": None}
    return argparse.Namespace(**{**defaults, "ttl": None, **given})


def test_the_least() -> None:
    assert claims(arguments(), SETTINGS, 1_000) == {
        "sub": "alice",
        "room": "plaza",
        "iat": 1_000,
        "exp": 1_300,
        "iss": "me",
        "aud": "you",
        "device": "desktop",
    }


def test_all_of_it() -> None:
    given = arguments(room=["a", "lobby:*"], name="Alice", avatar="fox", device="mobile", role=["mod", "host"], ttl=60)
    made = claims(given, SETTINGS, 1_000)
    assert "room" not in made
    assert made["rooms"] == ["a", "lobby:*"]
    assert made["exp"] == 1_060
    assert (made["name"], made["avatar"], made["device"], made["roles"]) == ("Alice", "fox", "mobile", ["mod", "host"])


def test_a_star_alone_is_every_room() -> None:
    assert claims(arguments(room=["*"]), SETTINGS, 0)["room"] == "*"


@pytest.mark.parametrize(
    "given", [{"user": ""}, {"user": "u" * 129}, {"room": ["a b"]}, {"room": [""]}, {"room": ["**"]}, {"ttl": 10**9}]
)
def test_what_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        claims(arguments(**given), SETTINGS, 0)
