"""Room tokens and session tokens: minting and checking JWTs. The only place that knows how a token looks.

The algorithm follows from the key that the operator set, never from the token's header, so neither
`alg: none` nor a public key used as a shared secret can pass (RFC 8725 sections 2.1 and 3.1).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from msgspec import Struct

from common.errors import AuthErrorCode, SettingsError
from common.ids import RoomId, UserId, is_label
from common.messages import Device
from common.settings import EdgeSettings

CLOCK_LEEWAY_S: Final = 0
"""Tokens live for minutes and are refreshed early; a leeway would only make expiry harder to reason about."""

ROOMS_MAX: Final = 100

EXPIRES_S_MAX: Final = 2**43
"""Some 279,000 years. In milliseconds still exact in JSON and as a float."""


class Claims(Struct, frozen=True):
    """What a good room token says."""

    user_id: UserId
    rooms: tuple[str, ...]
    expires_at_ms: int
    device: Device
    display_name: str | None
    avatar_id: str | None
    roles: tuple[str, ...]

    def allows(self, room_id: RoomId) -> bool:
        """Tell whether the token is for a room; a trailing `*` in a claim matches a prefix."""
        return any(room_id.startswith(name[:-1]) if name.endswith("*") else room_id == name for name in self.rooms)


class Key(Struct, frozen=True):
    """A key and the only algorithm that it may be used with."""

    algorithm: str
    value: Any


def secret_key(secret: str) -> Key:
    """Return the key of a shared secret."""
    return Key("HS256", secret)


def public_key(path: str, setting: str) -> Key:
    """Read a public key from a PEM file.

    Raises:
        SettingsError: the file holds no RSA or Ed25519 public key.
    """
    try:
        key = load_pem_public_key(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{setting}={path!r} is no PEM file with a public key: {error}") from error
    if isinstance(key, RSAPublicKey):
        return Key("RS256", key)
    if isinstance(key, Ed25519PublicKey):
        return Key("EdDSA", key)
    raise SettingsError(f"{setting}={path!r} must hold an RSA or Ed25519 public key")


def mint(key: str | bytes, *, algorithm: str, claims: Mapping[str, Any]) -> str:
    """Sign a token.

    Args:
        key: shared secret for HS256, PEM private key for RS256 and EdDSA.
    """
    return jwt.encode(dict(claims), key, algorithm=algorithm)


class TokenVerifier:
    """Checks room tokens."""

    def __init__(self, key: Key, issuer: str, audience: str) -> None:
        self._key = key
        self._issuer = issuer
        self._audience = audience

    def verify(self, token: str) -> Claims | AuthErrorCode:
        """Check a token. Never raises for what a client can send."""
        try:
            payload = jwt.decode(
                token,
                self._key.value,
                algorithms=[self._key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_LEEWAY_S,
                options={
                    "require": ["sub", "exp", "iat", "iss", "aud"],
                    # RFC 7519 section 4.1.6 only says when the token was made; an application server whose clock
                    # is a little ahead must not be refused for it.
                    "verify_iat": False,
                },
            )
        except jwt.ExpiredSignatureError:
            return AuthErrorCode.TOKEN_EXPIRED
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return AuthErrorCode.TOKEN_INVALID
        return _claims(payload) or AuthErrorCode.TOKEN_INVALID


class SessionVerifier:
    """Checks the application's session JWT on `POST /rooms/join`; only its subject counts."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def subject(self, token: str) -> str | None:
        """Return whom the session belongs to; None where it is no good."""
        try:
            payload = jwt.decode(
                token,
                self._key.value,
                algorithms=[self._key.algorithm],
                options={"require": ["sub", "exp"], "verify_aud": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return str(payload["sub"])


def token_verifier(settings: EdgeSettings) -> TokenVerifier:
    """Make the verifier that the settings ask for.

    Raises:
        SettingsError: the key file is no good.
    """
    if settings.token_public_key_file:
        key = public_key(settings.token_public_key_file, "ROOMRING_TOKEN_PUBLIC_KEY_FILE")
    else:
        key = secret_key(settings.token_secret_or_default)
    return TokenVerifier(key, settings.token_issuer, settings.token_audience)


def session_verifier(settings: EdgeSettings) -> SessionVerifier | None:
    """Make the verifier of session tokens; None where no key is set.

    Raises:
        SettingsError: the key file is no good.
    """
    if settings.session_public_key_file:
        return SessionVerifier(public_key(settings.session_public_key_file, "ROOMRING_SESSION_PUBLIC_KEY_FILE"))
    return SessionVerifier(secret_key(settings.session_secret)) if settings.session_secret else None


def _claims(payload: Mapping[str, Any]) -> Claims | None:
    rooms = payload.get("rooms", payload.get("room"))
    rooms = [rooms] if isinstance(rooms, str) else rooms
    device = payload.get("device", "desktop")
    roles = payload.get("roles", [])
    subject, name, avatar = payload["sub"], payload.get("name"), payload.get("avatar")
    # PyJWT takes any `exp` that `int` does, so also text and numbers that no clock reaches.
    expires_s = payload["exp"]
    if not (
        isinstance(rooms, list)
        and 0 < len(rooms) <= ROOMS_MAX
        and all(isinstance(room, str) for room in rooms)
        and device in ("desktop", "mobile")
        and isinstance(roles, list)
        and all(isinstance(role, str) and is_label(role) for role in roles)
        and isinstance(subject, str)
        and is_label(subject)
        and (name is None or (isinstance(name, str) and is_label(name)))
        and (avatar is None or (isinstance(avatar, str) and is_label(avatar)))
        and isinstance(expires_s, int | float)
        and expires_s <= EXPIRES_S_MAX
    ):
        return None
    return Claims(UserId(subject), tuple(rooms), int(expires_s * 1000), device, name, avatar, tuple(roles))
