"""Settings: defaults, bounds, and the relations that are checked at start."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import SettingsError
from common.settings import DEV_ADMIN_KEY, DEV_TOKEN_SECRET, EdgeSettings, WorkerSettings, load

SECRET = "s" * 32
EDGE = {"ROOMRING_TOKEN_SECRET": SECRET}


def edge(**environ: str) -> EdgeSettings:
    return load(EdgeSettings, {**EDGE, **environ})


def test_defaults_are_those_of_the_contract() -> None:
    settings = edge()
    assert (settings.port, settings.internal_port_or_default) == (8080, 9080)
    assert (settings.heartbeat_interval_ms, settings.heartbeat_timeout_ms) == (15_000, 45_000)
    assert settings.auth_timeout_ms == 10_000
    worker = load(WorkerSettings, {})
    assert worker.reconnect_window_ms == 5_000
    assert (worker.transforms_per_second_desktop, worker.transforms_per_second_mobile) == (20.0, 15.0)
    assert (worker.chat_per_second, worker.chat_burst) == (5.0, 10)


@pytest.mark.parametrize("cls", [EdgeSettings, WorkerSettings])
def test_every_setting_has_a_name_of_its_own_a_text_and_a_default_within_its_bounds(cls: Any) -> None:
    names = [item.metadata["env"] for item in fields(cls)]
    assert len(set(names)) == len(names)
    for item in fields(cls):
        assert item.metadata["env"] == "ROOMRING_" + item.name.upper()
        assert item.metadata["doc"].endswith(".")
        low, high = item.metadata["low"], item.metadata["high"]
        if type(item.default) in (int, float):
            assert low <= item.default <= high


@pytest.mark.parametrize("cls", [EdgeSettings, WorkerSettings])
def test_every_number_is_checked_against_both_bounds_and_its_kind(cls: Any) -> None:
    for item in fields(cls):
        if type(item.default) not in (int, float):
            continue
        name, low, high = item.metadata["env"], item.metadata["low"], item.metadata["high"]
        for text in (f"{low - 1:g}", f"{high * 2 + 1:.0f}", "many", "nan" if type(item.default) is float else "1.5"):
            with pytest.raises(SettingsError, match=name):
                load(cls, {**EDGE, name: text})


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)])
def test_flags(text: str, value: bool) -> None:
    assert edge(ROOMRING_DEV=text).dev is value


def test_a_flag_is_not_guessed() -> None:
    with pytest.raises(SettingsError, match="ROOMRING_DEV='maybe'"):
        edge(ROOMRING_DEV="maybe")


def test_blank_stands_for_not_set_and_arguments_win() -> None:
    assert edge(ROOMRING_PORT="  ").port == 8080
    assert load(EdgeSettings, {**EDGE, "ROOMRING_PORT": "1000"}, port=2000).port == 2000
    assert load(EdgeSettings, {**EDGE, "ROOMRING_PORT": "1000"}, port=None).port == 1000
    with pytest.raises(AssertionError, match="prot"):
        load(EdgeSettings, EDGE, prot=1)
    with pytest.raises(SettingsError, match="ROOMRING_PORT=0"):
        load(EdgeSettings, EDGE, port=0)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"ROOMRING_REDIS_URL": "http://x"}, "not a Redis URL"),
        ({"ROOMRING_NAMESPACE": "a{b}"}, "ROOMRING_NAMESPACE"),
        ({"ROOMRING_NAMESPACE": "x" * 33}, "ROOMRING_NAMESPACE"),
        ({"ROOMRING_NODE_TTL_MS": "1000", "ROOMRING_NODE_RENEW_MS": "334"}, "a third"),
        ({"ROOMRING_SHARDS": "2", "ROOMRING_PARTITIONS": "3"}, "ROOMRING_PARTITIONS=3"),
        ({"ROOMRING_LOG_FORMAT": "xml"}, "ROOMRING_LOG_FORMAT"),
        ({"ROOMRING_LOG_LEVEL": "loud"}, "ROOMRING_LOG_LEVEL"),
        ({"ROOMRING_TOKEN_SECRET": ""}, "set ROOMRING_TOKEN_SECRET"),
        ({"ROOMRING_TOKEN_SECRET": "short"}, "5 characters"),
        ({"ROOMRING_SESSION_SECRET": "short"}, "ROOMRING_SESSION_SECRET"),
        ({"ROOMRING_TOKEN_PUBLIC_KEY_FILE": "x.pem"}, "only one"),
        ({"ROOMRING_TOKEN_SECRET": "", "ROOMRING_TOKEN_PUBLIC_KEY_FILE": "/no/such.pem"}, "no such file"),
        ({"ROOMRING_SESSION_PUBLIC_KEY_FILE": "/no/such.pem"}, "no such file"),
        ({"ROOMRING_PORT": "65000"}, "no room for the internal port"),
        ({"ROOMRING_PORT": "9000", "ROOMRING_INTERNAL_PORT": "9000"}, "must differ"),
        ({"ROOMRING_HEARTBEAT_INTERVAL_MS": "30000"}, "at least twice"),
        ({"ROOMRING_WRITE_BUFFER_SOFT_BYTES": "2000000"}, "must not exceed"),
        ({"ROOMRING_PUBLIC_WS_URL": "https://x/ws"}, "ROOMRING_PUBLIC_WS_URL"),
    ],
)
def test_contradictions_are_told_in_one_line(environ: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        edge(**environ)
    assert "\n" not in str(caught.value)


def test_relations_hold_at_their_very_edge() -> None:
    edge(ROOMRING_NODE_TTL_MS="1002", ROOMRING_NODE_RENEW_MS="334")
    edge(ROOMRING_SHARDS="3", ROOMRING_PARTITIONS="3")
    edge(ROOMRING_HEARTBEAT_INTERVAL_MS="22500")
    edge(ROOMRING_PORT="64535")
    edge(ROOMRING_PORT="65000", ROOMRING_INTERNAL_PORT="1")


def test_development_mode_has_known_secrets_and_nothing_else_has() -> None:
    dev = load(EdgeSettings, {"ROOMRING_DEV": "1"})
    assert (dev.token_secret_or_default, dev.admin_key_or_default) == (DEV_TOKEN_SECRET, DEV_ADMIN_KEY)
    own = load(EdgeSettings, {"ROOMRING_DEV": "1", "ROOMRING_TOKEN_SECRET": SECRET, "ROOMRING_ADMIN_KEY": "k"})
    assert (own.token_secret_or_default, own.admin_key_or_default) == (SECRET, "k")
    assert edge().admin_key_or_default == ""


def test_with_a_public_key_there_is_no_secret(tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text("x")
    settings = load(EdgeSettings, {"ROOMRING_DEV": "1", "ROOMRING_TOKEN_PUBLIC_KEY_FILE": str(pem)})
    # The known secret beside a key would let anybody sign tokens.
    assert settings.token_secret_or_default == ""


def test_origins_are_compared_in_one_form() -> None:
    assert edge(ROOMRING_ALLOWED_ORIGINS=" https://A.example/, http://b ,,").origins == {
        "https://a.example",
        "http://b",
    }
    assert edge().origins == {"*"}


@given(st.dictionaries(st.sampled_from([item.metadata["env"] for item in fields(EdgeSettings)]), st.text(max_size=12)))
def test_any_environment_gives_settings_or_one_line(environ: dict[str, str]) -> None:
    try:
        settings = load(EdgeSettings, environ)
    except SettingsError as error:
        assert str(error)
    else:
        settings.check()
