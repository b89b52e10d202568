"""Tokens: whom they name, and what must not pass."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from common.commands import Identity, InputBatch, Join, encode_batch
from common.errors import AuthErrorCode, SettingsError
from common.ids import ConnNumber, EdgeId, RoomId
from common.settings import EdgeSettings
from edge.tokens import (
    Claims,
    Key,
    SessionVerifier,
    TokenVerifier,
    mint,
    public_key,
    secret_key,
    session_verifier,
    token_verifier,
)

SECRET = "0123456789abcdef0123456789abcdef"
NOW_S = int(time.time())
GOOD: dict[str, Any] = {
    "sub": "ada",
    "room": "hall",
    "exp": NOW_S + 3_600,
    "iat": NOW_S,
    "iss": "roomring",
    "aud": "roomring",
    "device": "mobile",
}
VERIFIER = TokenVerifier(secret_key(SECRET), "roomring", "roomring")


def pem_of(private: Any) -> str:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()  # type: ignore[no-any-return]


def public_pem_of(private: Any) -> bytes:
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def rsa() -> Any:
    return generate_rsa(65537, 2048)


@pytest.fixture(scope="module")
def ed25519() -> Any:
    return Ed25519PrivateKey.generate()


def token(key: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not ...}
    return mint(key, algorithm=algorithm, claims=claims)


def verdict(**changes: Any) -> Claims | AuthErrorCode:
    return VERIFIER.verify(token(**changes))


def claims(**changes: Any) -> Claims:
    found = verdict(**changes)
    assert isinstance(found, Claims), found
    return found


# --- claims -----------------------------------------------------------------------------------------------


def test_a_good_token_says_who_where_and_until_when() -> None:
    assert claims(name="Ada", avatar="fox", roles=["host"]) == Claims(
        "ada",  # type: ignore[arg-type]
        ("hall",),
        (NOW_S + 3_600) * 1_000,
        "mobile",
        "Ada",
        "fox",
        ("host",),
    )


def test_what_may_be_left_out() -> None:
    found = claims(device=...)
    assert (found.device, found.display_name, found.avatar_id, found.roles) == ("desktop", None, None, ())


@pytest.mark.parametrize(
    ("rooms", "room", "allowed"),
    [
        ({"room": "hall"}, "hall", True),
        ({"room": "hall"}, "hall2", False),
        ({"room": "hall"}, "Hall", False),
        ({"room": "lobby:*"}, "lobby:a", True),
        ({"room": "lobby:*"}, "lobby", False),
        ({"room": "*"}, "anything", True),
        ({"room": "a*b"}, "axb", False),
        ({"rooms": ["a", "b:*"]}, "b:c", True),
        ({"rooms": ["a", "b:*"]}, "c", False),
        ({"rooms": ["a"], "room": "b"}, "b", False),
        ({"rooms": "a", "room": ...}, "a", True),
    ],
)
def test_rooms(rooms: dict[str, Any], room: str, allowed: bool) -> None:
    assert claims(**rooms).allows(RoomId(room)) is allowed


@pytest.mark.parametrize("claim", ["sub", "exp", "iat", "iss", "aud", "room"])
def test_claims_that_must_be_there(claim: str) -> None:
    assert verdict(**{claim: ...}) is AuthErrorCode.TOKEN_INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"aud": "other"},
        {"aud": []},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 129},
        {"sub": "a\ud800"},
        {"room": 7},
        {"room": ..., "rooms": []},
        {"room": ..., "rooms": ["a"] * 101},
        {"room": ..., "rooms": ["a", 7]},
        {"room": ..., "rooms": {"a": 1}},
        {"device": "toaster"},
        {"device": ["mobile"]},
        {"roles": "host"},
        {"roles": [7]},
        {"name": ""},
        {"name": 7},
        {"name": "a\0"},
        {"avatar": ["fox"]},
        {"nbf": NOW_S + 86_400},
    ],
)
def test_claims_of_a_wrong_form(changes: dict[str, Any]) -> None:
    assert verdict(**changes) is AuthErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("exp", ["soon", "9999999999", [], {}, None, float("nan"), float("inf"), True])
def test_an_expiry_that_is_no_number(exp: Any) -> None:
    # Nothing here may raise: the connection would end without a word.
    assert verdict(exp=exp) in (AuthErrorCode.TOKEN_INVALID, AuthErrorCode.TOKEN_EXPIRED)


@pytest.mark.parametrize("claim", ["name", "avatar", "sub"])
def test_half_a_surrogate_pair_is_no_label(claim: str) -> None:
    # JSON can write it, UTF-8 cannot: a display name with one, which the application signed as it was, ended the
    # edge's uplink with a UnicodeEncodeError, and so the edge.
    assert verdict(**{claim: "a\udfff"}) is AuthErrorCode.TOKEN_INVALID
    assert verdict(roles=["\ud83d"]) is AuthErrorCode.TOKEN_INVALID


def test_names_in_many_scripts_pass() -> None:
    name = "\U0001f468\u200d\U0001f680 Zo\u00eb \u05e9\u05dc\u05d5\u05dd\u200f"
    assert claims(name=name).display_name == name


def test_a_token_made_by_a_clock_that_is_ahead_is_good() -> None:
    assert isinstance(verdict(iat=NOW_S + 600), Claims)


def test_an_expired_token_is_told_apart() -> None:
    assert verdict(exp=NOW_S - 10) is AuthErrorCode.TOKEN_EXPIRED
    # Unless it is no good anyway.
    assert VERIFIER.verify(token(key="x" * 32, exp=NOW_S - 10)) is AuthErrorCode.TOKEN_INVALID


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.sampled_from(["ada", "*", NOW_S + 60, "\ud800"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=2)),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "rooms", "name", "avatar", "roles", "nbf"]), json_values, max_size=4))
def test_whatever_is_signed_there_is_a_verdict_and_what_passes_can_be_told_on(changes: dict[str, Any]) -> None:
    body = signed({**GOOD, **changes})
    found = VERIFIER.verify(body)
    assert isinstance(found, Claims | AuthErrorCode)
    if isinstance(found, Claims):
        identity = Identity(found.user_id, found.display_name or "a", found.avatar_id or "b", found.roles)
        join = Join(RoomId("hall"), ConnNumber(1), identity, found.device)
        encode_batch(InputBatch(EdgeId("e"), 1, 1, [join]))
        assert isinstance(found.expires_at_ms, int)


def signed(body: Any) -> str:
    """Sign any JSON, also what `mint` would refuse."""

    def part(value: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(body)
    seal = hmac.new(SECRET.encode(), text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(seal).rstrip(b"=")).decode()


@given(st.one_of(st.text(), st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*"), st.binary().map(lambda b: b.decode("latin-1"))))
def test_whatever_comes_there_is_a_verdict(text: str) -> None:
    assert VERIFIER.verify(text) is AuthErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("body", [[], "text", 7, None])
def test_a_payload_that_is_no_object(body: Any) -> None:
    assert VERIFIER.verify(signed(body)) is AuthErrorCode.TOKEN_INVALID


# --- keys and algorithms ----------------------------------------------------------------------------------


def test_a_token_of_another_secret_is_refused() -> None:
    assert VERIFIER.verify(token(key="x" * 32)) is AuthErrorCode.TOKEN_INVALID


def test_a_token_that_was_changed_is_refused() -> None:
    head, body, seal = token().split(".")
    other = base64.urlsafe_b64encode(json.dumps({**GOOD, "sub": "eve"}).encode()).rstrip(b"=").decode()
    assert VERIFIER.verify(f"{head}.{other}.{seal}") is AuthErrorCode.TOKEN_INVALID
    assert VERIFIER.verify(f"{head}.{body}.") is AuthErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_no_algorithm_is_no_signature(name: str) -> None:
    head = base64.urlsafe_b64encode(json.dumps({"alg": name, "typ": "JWT"}).encode()).rstrip(b"=").decode()
    body = base64.urlsafe_b64encode(json.dumps(GOOD).encode()).rstrip(b"=").decode()
    assert VERIFIER.verify(f"{head}.{body}.") is AuthErrorCode.TOKEN_INVALID
    assert VERIFIER.verify(jwt.encode(GOOD, None, algorithm="none")) is AuthErrorCode.TOKEN_INVALID  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_only_the_keys_own_algorithm_passes(algorithm: str) -> None:
    assert VERIFIER.verify(token(key=SECRET * 2, algorithm=algorithm)) is AuthErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_public_keys_check_what_the_private_key_signed(kind: str, request: Any, tmp_path: Path) -> None:
    private = request.getfixturevalue(kind)
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem_of(private))
    key = public_key(str(file), "SETTING")
    assert key.algorithm == {"rsa": "RS256", "ed25519": "EdDSA"}[kind]
    verifier = TokenVerifier(key, "roomring", "roomring")
    assert isinstance(verifier.verify(token(pem_of(private), key.algorithm)), Claims)
    assert verifier.verify(token()) is AuthErrorCode.TOKEN_INVALID


def test_a_public_key_is_no_shared_secret(rsa: Any) -> None:
    # The classic confusion: the public key is public, so anybody can sign HS256 with its text.
    pem = public_pem_of(rsa)
    verifier = TokenVerifier(Key("RS256", rsa.public_key()), "roomring", "roomring")
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
    text = head + b"." + base64.urlsafe_b64encode(json.dumps(GOOD).encode()).rstrip(b"=")
    for secret in (pem, pem.strip()):
        seal = base64.urlsafe_b64encode(hmac.new(secret, text, hashlib.sha256).digest()).rstrip(b"=")
        assert verifier.verify((text + b"." + seal).decode()) is AuthErrorCode.TOKEN_INVALID


def test_another_rsa_algorithm_of_the_same_key_does_not_pass(rsa: Any) -> None:
    verifier = TokenVerifier(Key("RS256", rsa.public_key()), "roomring", "roomring")
    for algorithm in ("PS256", "RS512"):
        assert verifier.verify(token(pem_of(rsa), algorithm)) is AuthErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_a_key(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="SETTING"):
        public_key(str(file), "SETTING")


def test_keys_of_other_kinds_and_private_keys_are_refused(ed25519: Any, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem_of(generate_ec(SECP256R1())))
    with pytest.raises(SettingsError, match="RSA or Ed25519"):
        public_key(str(file), "SETTING")
    file.write_text(pem_of(ed25519))
    with pytest.raises(SettingsError):
        public_key(str(file), "SETTING")
    with pytest.raises(SettingsError):
        public_key(str(tmp_path / "missing.pem"), "SETTING")


# --- from settings ----------------------------------------------------------------------------------------


def test_the_settings_choose_the_key(ed25519: Any, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem_of(ed25519))
    by_secret = token_verifier(EdgeSettings(token_secret=SECRET))
    by_key = token_verifier(EdgeSettings(token_public_key_file=str(file), token_issuer="me", token_audience="you"))
    mine = token(pem_of(ed25519), "EdDSA", iss="me", aud="you")
    assert isinstance(by_secret.verify(token()), Claims)
    assert by_secret.verify(mine) is AuthErrorCode.TOKEN_INVALID
    assert isinstance(by_key.verify(mine), Claims)
    assert by_key.verify(token(pem_of(ed25519), "EdDSA")) is AuthErrorCode.TOKEN_INVALID


def test_sessions_name_their_subject(ed25519: Any, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(public_pem_of(ed25519))
    sessions = session_verifier(EdgeSettings(session_secret=SECRET))
    assert sessions is not None
    assert sessions.subject(token(iss="app", aud="anything")) == "ada"
    assert sessions.subject(token(exp=NOW_S - 1)) is None
    assert sessions.subject(token(exp=...)) is None
    assert sessions.subject(token(sub=...)) is None
    assert sessions.subject("nonsense") is None
    by_key = session_verifier(EdgeSettings(session_public_key_file=str(file), session_secret=SECRET))
    assert by_key is not None
    assert by_key.subject(token(pem_of(ed25519), "EdDSA")) == "ada"
    assert by_key.subject(token()) is None
    assert session_verifier(EdgeSettings()) is None


@given(json_values)
def test_no_session_ends_in_an_exception(exp: Any) -> None:
    subject = SessionVerifier(secret_key(SECRET)).subject(signed({"sub": "ada", "exp": exp}))
    assert subject in (None, "ada")
