"""`roomring token`: mint a room token. What a token holds is in docs/protocol.md; signing is in edge/tokens.py."""

import argparse
import time
from pathlib import Path
from typing import Any, Final

from common.errors import SettingsError
from common.ids import is_room_id
from common.settings import DEV_TOKEN_SECRET, SECRET_CHARACTERS_MIN, EdgeSettings, load

_TTL_MAX_S: Final = 10 * 365 * 86_400


def run(args: argparse.Namespace) -> int:
    """Print a token on standard output. See `roomring token --help`.

    Raises:
        SettingsError: there is nothing to sign with, or an argument is wrong.
    """
    settings = _settings(args)
    key, algorithm = _signing_key(args, settings)
    from edge.tokens import mint

    print(mint(key, algorithm=algorithm, claims=claims(args, settings, int(time.time()))))  # noqa: T201
    return 0


def claims(args: argparse.Namespace, settings: EdgeSettings, now_s: int) -> dict[str, Any]:
    """Make the claims of a token that begins now.

    Raises:
        SettingsError: a room, user or lifetime is none.
    """
    if not 1 <= len(args.user) <= 128:
        raise SettingsError("--user must have 1 to 128 characters")
    for room in args.room:
        if room != "*" and not is_room_id(room.removesuffix("*")):
            raise SettingsError(f"--room {room!r} is no room id: letters, digits and . _ : - only, at most 128")
    rooms: dict[str, Any] = {"room": args.room[0]} if len(args.room) == 1 else {"rooms": args.room}
    optional = {"name": args.name, "avatar": args.avatar, "roles": args.role}
    return {
        "sub": args.user,
        **rooms,
        "iat": now_s,
        "exp": now_s + _ttl_s(args, settings),
        "iss": settings.token_issuer,
        "aud": settings.token_audience,
        "device": args.device,
        **{name: value for name, value in optional.items() if value},
    }


def _ttl_s(args: argparse.Namespace, settings: EdgeSettings) -> int:
    if args.ttl is None:
        return max(1, settings.token_ttl_ms // 1000)
    if args.ttl > _TTL_MAX_S:
        raise SettingsError(f"--ttl {args.ttl} must be at most ten years, {_TTL_MAX_S} seconds")
    return int(args.ttl)


def _settings(args: argparse.Namespace) -> EdgeSettings:
    # A key given here stands for the edge's, so that the check of the edge's own does not ask for one.
    given = args.secret or args.private_key_file
    return load(EdgeSettings, dev=True if args.dev or given else None)


def _signing_key(args: argparse.Namespace, settings: EdgeSettings) -> tuple[str | bytes, str]:
    if args.private_key_file:
        return _private_key(Path(args.private_key_file))
    if args.secret:
        if len(args.secret) < SECRET_CHARACTERS_MIN:
            raise SettingsError(
                f"--secret has {len(args.secret)} characters and needs at least {SECRET_CHARACTERS_MIN}"
            )
        return args.secret, "HS256"
    if args.dev:
        return DEV_TOKEN_SECRET, "HS256"
    if settings.token_public_key_file:
        raise SettingsError("the edges check with a public key; give its private half with --private-key-file")
    return settings.token_secret_or_default, "HS256"


def _private_key(path: Path) -> tuple[bytes, str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        pem = path.read_bytes()
        key = load_pem_private_key(pem, password=None)
    except OSError as error:
        raise SettingsError(f"--private-key-file {str(path)!r}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SettingsError(f"--private-key-file {str(path)!r} is no PEM private key without a password") from error
    if isinstance(key, RSAPrivateKey):
        return pem, "RS256"
    if isinstance(key, Ed25519PrivateKey):
        return pem, "EdDSA"
    raise SettingsError(f"--private-key-file {str(path)!r} must hold an RSA or Ed25519 key")
