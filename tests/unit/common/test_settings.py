"""Every wrong setting gives one line that names the variable and says what to do."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from common.errors import SettingsError
from common.settings import (
    DEV_ADMIN_KEY,
    DEV_TOKEN_SECRET,
    CommonSettings,
    EdgeSettings,
    WorkerSettings,
    load,
)

DEV = {"ROOMRING_DEV": "1"}
SECRET = "s" * 32


def refused(cls: type[CommonSettings], environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(cls, environ)
    text = str(caught.value)
    assert "\n" not in text
    assert "ROOMRING_" in text
    return text


@pytest.mark.parametrize("cls", [EdgeSettings, WorkerSettings])
def test_defaults_are_good_in_development_mode(cls: type[CommonSettings]) -> None:
    settings = load(cls, DEV)
    assert settings.dev
    assert settings.shards == 64


def test_a_worker_needs_no_setting_at_all() -> None:
    assert load(WorkerSettings, {}) == WorkerSettings()


def test_an_edge_outside_development_mode_needs_a_key() -> None:
    assert "ROOMRING_TOKEN_SECRET" in refused(EdgeSettings, {})
    assert load(EdgeSettings, {"ROOMRING_TOKEN_SECRET": SECRET}).token_secret_or_default == SECRET


def test_development_mode_brings_known_secrets_and_an_own_one_wins() -> None:
    settings = load(EdgeSettings, DEV)
    assert (settings.token_secret_or_default, settings.admin_key_or_default) == (DEV_TOKEN_SECRET, DEV_ADMIN_KEY)
    settings = load(EdgeSettings, {**DEV, "ROOMRING_TOKEN_SECRET": SECRET, "ROOMRING_ADMIN_KEY": "mine"})
    assert (settings.token_secret_or_default, settings.admin_key_or_default) == (SECRET, "mine")


def test_without_development_mode_the_administration_is_off_by_default() -> None:
    assert load(EdgeSettings, {"ROOMRING_TOKEN_SECRET": SECRET}).admin_key_or_default == ""


def test_empty_and_blank_variables_count_as_not_set() -> None:
    assert load(EdgeSettings, {**DEV, "ROOMRING_PORT": "", "ROOMRING_HOST": "  "}) == load(EdgeSettings, DEV)


def test_overrides_win_and_none_stands_for_not_given() -> None:
    environ = {**DEV, "ROOMRING_PORT": "9000"}
    assert load(EdgeSettings, environ, port=9001).port == 9001
    assert load(EdgeSettings, environ, port=None).port == 9000


def test_the_internal_port_follows_the_public_one() -> None:
    assert load(EdgeSettings, {**DEV, "ROOMRING_PORT": "9000"}).internal_port_or_default == 10_000
    given = load(EdgeSettings, {**DEV, "ROOMRING_INTERNAL_PORT": "9500"})
    assert given.internal_port_or_default == 9500


def test_several_processes_have_internal_ports_one_after_the_other() -> None:
    assert list(load(EdgeSettings, DEV).internal_ports) == [9080]
    assert list(load(EdgeSettings, {**DEV, "ROOMRING_PROCESSES": "3"}).internal_ports) == [9080, 9081, 9082]
    given = {**DEV, "ROOMRING_PROCESSES": "2", "ROOMRING_INTERNAL_PORT": "65534"}
    assert list(load(EdgeSettings, given).internal_ports) == [65534, 65535]


def test_origins_are_compared_in_one_form() -> None:
    settings = load(EdgeSettings, {**DEV, "ROOMRING_ALLOWED_ORIGINS": " https://A.example/ , http://b.example,,"})
    assert settings.origins == {"https://a.example", "http://b.example"}


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False)])
def test_yes_and_no(text: str, value: bool) -> None:
    assert load(WorkerSettings, {"ROOMRING_DEV": text}).dev is value


NUMBERS = [
    (cls, field.metadata["env"], field.metadata["low"], field.metadata["high"], type(field.default))
    for cls in (EdgeSettings, WorkerSettings)
    for field in fields(cls)
    if field.metadata["low"] is not None
]


@pytest.mark.parametrize(
    ("cls", "env", "low", "high", "kind"), NUMBERS, ids=[f"{n[0].__name__}-{n[1]}" for n in NUMBERS]
)
def test_numbers_have_bounds(cls: type[CommonSettings], env: str, low: float, high: float, kind: type) -> None:
    for text in (repr(kind(low - 1)), repr(kind(high + 1))):
        message = refused(cls, {**DEV, env: text})
        assert message == f"{env}={text} must be between {low:g} and {high:g}"
    for text in ("many", "1e", "0x10"):
        assert refused(cls, {**DEV, env: text}).startswith(f"{env}={text!r} must be a")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_numbers_are_finite(text: str) -> None:
    assert "must be between" in refused(EdgeSettings, {**DEV, "ROOMRING_CHAT_PER_SECOND": text})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ROOMRING_DEV": "maybe"}, "ROOMRING_DEV='maybe' must be 1 or 0"),
        ({"ROOMRING_REDIS_URL": "localhost:6379"}, "is not a Redis URL"),
        ({"ROOMRING_REDIS_URL": "http://localhost"}, "is not a Redis URL"),
        ({"ROOMRING_DATABASE_URL": "mysql://localhost/x"}, "is not a PostgreSQL URL"),
        ({"ROOMRING_NAMESPACE": "a b"}, "ROOMRING_NAMESPACE='a b' must be"),
        ({"ROOMRING_NAMESPACE": "{x}"}, "ROOMRING_NAMESPACE='{x}' must be"),
        ({"ROOMRING_NODE_RENEW_MS": "1000"}, "must be at most a third of"),
        ({"ROOMRING_PARTITIONS": "8", "ROOMRING_SHARDS": "4"}, "must be at most ROOMRING_SHARDS=4"),
        ({"ROOMRING_LOG_FORMAT": "xml"}, "must be auto, json or console"),
        ({"ROOMRING_LOG_LEVEL": "loud"}, "must be debug, info, warning or error"),
    ],
)
@pytest.mark.parametrize("cls", [EdgeSettings, WorkerSettings])
def test_wrong_shared_settings(cls: type[CommonSettings], environ: dict[str, str], expected: str) -> None:
    assert expected in refused(cls, {**DEV, **environ})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ROOMRING_TOKEN_SECRET": "short"}, "ROOMRING_TOKEN_SECRET has 5 characters and needs at least 32"),
        ({"ROOMRING_SESSION_SECRET": "short"}, "ROOMRING_SESSION_SECRET has 5 characters"),
        ({"ROOMRING_TOKEN_SECRET": SECRET, "ROOMRING_TOKEN_PUBLIC_KEY_FILE": "k.pem"}, "set only one of"),
        ({"ROOMRING_TOKEN_PUBLIC_KEY_FILE": "/nowhere/k.pem"}, "there is no such file"),
        ({"ROOMRING_SESSION_PUBLIC_KEY_FILE": "/nowhere/k.pem"}, "there is no such file"),
        ({"ROOMRING_PORT": "65000"}, "leaves no room for the internal port"),
        ({"ROOMRING_PORT": "9000", "ROOMRING_INTERNAL_PORT": "9000"}, "must differ from ROOMRING_PORT"),
        ({"ROOMRING_PROCESSES": "65"}, "ROOMRING_PROCESSES=65 must be between 1 and 64"),
        ({"ROOMRING_INTERNAL_PORT": "65535", "ROOMRING_PROCESSES": "2"}, "is no room for the internal ports"),
        ({"ROOMRING_INTERNAL_PORT": "8078", "ROOMRING_PROCESSES": "3"}, "one of the internal ports 8078 to 8080"),
        ({"ROOMRING_HEARTBEAT_INTERVAL_MS": "30000"}, "must be at least twice"),
        ({"ROOMRING_WRITE_BUFFER_SOFT_BYTES": "2000000"}, "must not exceed ROOMRING_WRITE_BUFFER_HARD_BYTES"),
        ({"ROOMRING_PUBLIC_WS_URL": "https://x"}, "must begin with ws:// or wss://"),
    ],
)
def test_wrong_edge_settings(environ: dict[str, str], expected: str) -> None:
    assert expected in refused(EdgeSettings, {**DEV, **environ})


def test_a_public_key_file_stands_for_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("looked at later")
    settings = load(EdgeSettings, {**DEV, "ROOMRING_TOKEN_PUBLIC_KEY_FILE": str(path)})
    # The known secret of development mode must not open a cluster that checks with a public key.
    assert settings.token_secret_or_default == ""


def test_a_wrong_secret_is_not_shown() -> None:
    assert "hunter2" not in refused(EdgeSettings, {"ROOMRING_TOKEN_SECRET": "hunter2"})


@pytest.mark.parametrize("cls", [EdgeSettings, WorkerSettings])
def test_every_setting_is_documented(cls: type[CommonSettings]) -> None:
    for field in fields(cls):
        assert re.fullmatch(r"ROOMRING_[A-Z_]+", field.metadata["env"])
        assert field.metadata["doc"].endswith(".")
        if type(field.default) in (int, float):
            assert field.metadata["low"] <= field.default <= field.metadata["high"]
