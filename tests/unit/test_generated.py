"""The generated files are current, and what is on the wire is what they say.

The samples in tests/golden were written by hand from the contract. The tests of the browser client read them too.
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from common import codec
from common.errors import (
    AUTH_ERROR_MEANING,
    CLOSE_MEANING,
    ERROR_MEANING,
    REJECTION_MEANING,
    AuthErrorCode,
    CloseCode,
    ErrorCode,
    RejectionCode,
)
from common.messages import CLIENT_MESSAGES, SERVER_EVENTS, ServerEvent
from deploy import generate
from deploy.generators import protocol_page, schema
from deploy.generators.declarations import tag_of

GOLDEN = Path(__file__).parent.parent / "golden"
CLIENT = sorted(GOLDEN.glob("client.*.json"))
SERVER = sorted(GOLDEN.glob("server.*.json"))
EVENTS: dict[str, type[ServerEvent]] = {event.t: event for event in SERVER_EVENTS}


def name_of(path: Path) -> str:
    return path.stem


def read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def validator(direction: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema.schema(), "oneOf": [{"$ref": f"#/$defs/{direction}"}]})


@pytest.mark.parametrize("name", sorted(generate.generated()))
def test_generated_file_is_current(name: str) -> None:
    text = (generate.ROOT / name).read_text(encoding="utf-8")
    assert text == generate.generated()[name], f"{name} is not current: run python -m deploy.generate"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema.schema())


def test_every_file_in_golden_is_of_one_direction() -> None:
    assert sorted(GOLDEN.iterdir()) == sorted([*CLIENT, *SERVER])


def test_every_message_and_event_has_a_sample() -> None:
    assert {path.stem.split(".")[1] for path in CLIENT} == {tag_of(message) for message in CLIENT_MESSAGES}
    assert {path.stem.split(".")[1] for path in SERVER} == set(EVENTS)


def test_every_code_has_a_meaning() -> None:
    assert set(ERROR_MEANING) == set(ErrorCode)
    assert set(REJECTION_MEANING) == set(RejectionCode)
    assert set(AUTH_ERROR_MEANING) == set(AuthErrorCode)
    assert set(CLOSE_MEANING) == set(CloseCode)


@pytest.mark.parametrize("path", CLIENT, ids=name_of)
def test_client_sample_decodes_and_comes_back_the_same(path: Path) -> None:
    sample = read(path)
    message = codec.decode(path.read_bytes())
    assert not isinstance(message, codec.BadFrame)
    assert json.loads(msgspec.json.encode(message)) == sample
    assert sample["t"] == path.stem.split(".")[1]


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_server_sample_is_what_the_server_sends(path: Path) -> None:
    sample = read(path)
    payload = msgspec.convert(sample["payload"], EVENTS[sample["t"]])
    frame = codec.encode_event(
        payload,
        sample["ts"],
        seq=sample.get("seq"),
        epoch=sample.get("epoch"),
        re=sample.get("re", msgspec.UNSET),
    )
    if sample.get("replay"):
        frame = codec.as_replay(frame)
    assert json.loads(frame) == sample
    assert sample["t"] == path.stem.split(".")[1]


@pytest.mark.parametrize("path", CLIENT, ids=name_of)
def test_client_sample_fits_the_schema(path: Path) -> None:
    validator("ClientMessage").validate(read(path))


@pytest.mark.parametrize("path", SERVER, ids=name_of)
def test_server_sample_fits_the_schema(path: Path) -> None:
    validator("ServerEvent").validate(read(path))


@pytest.mark.parametrize("path", CLIENT, ids=name_of)
def test_schema_and_decoder_refuse_the_same(path: Path) -> None:
    """Drop each field in turn, and give each a wrong type: both must say the same."""
    sample = read(path)
    check = validator("ClientMessage")
    places = [(sample, name) for name in ("v", "t", "ts", "payload")]
    places += [(sample["payload"], name) for name in list(sample["payload"])]
    for owner, name in places:
        kept = owner.pop(name)
        changes: tuple[dict[str, Any], ...] = ({}, {name: []}, {name: None})
        for changed in changes:
            owner.update(changed)
            refused = isinstance(codec.decode(json.dumps(sample)), codec.BadFrame)
            assert refused == (not check.is_valid(sample)), (name, changed)
            owner.pop(name, None)
        owner[name] = kept


@pytest.mark.parametrize("room_id", ["", "-a", "a b", "a\n", "a" * 129, "ä", "a/b"])
def test_schema_and_decoder_refuse_the_same_room_ids(room_id: str) -> None:
    sample = read(GOLDEN / "client.leave_room.json")
    sample["payload"]["roomId"] = room_id
    assert isinstance(codec.decode(json.dumps(sample)), codec.BadFrame)
    assert not validator("ClientMessage").is_valid(sample)


def test_a_reliable_event_without_its_place_does_not_fit_the_schema() -> None:
    sample = read(GOLDEN / "server.chat_broadcast.json")
    del sample["seq"]
    assert not validator("ServerEvent").is_valid(sample)


def test_the_page_leaves_no_place_open() -> None:
    assert "{{" not in generate.generated()["docs/protocol.md"]


@pytest.mark.parametrize("template", ["{{nothing}}", "{{default:ROOMRING_NOTHING}}"])
def test_a_template_that_names_something_unknown_is_refused(template: str) -> None:
    with pytest.raises(KeyError):
        protocol_page.render(template, {})


def test_check_tells_a_stale_file_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = generate.generated()
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(generate, "generated", lambda: files)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 0
    (tmp_path / "docs/settings.md").write_text("old", encoding="utf-8")
    assert generate.main(["--check"]) == 1
    assert (tmp_path / "docs/settings.md").read_text(encoding="utf-8") == "old"
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert "not current: docs/settings.md" in capsys.readouterr().out
