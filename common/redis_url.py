"""ROOMRING_REDIS_URL taken apart: one server, the primary that Sentinels name, or a Redis Cluster. No IO.

    redis://user:password@host:6379/0        one server; rediss:// with TLS; unix:///run/redis.sock
    redis+sentinel://user:password@host1:26379,host2:26379/mymaster/0
    redis+cluster://user:password@host1:6379,host2:6379

With `rediss+sentinel` and `rediss+cluster` all connections are encrypted. User, password and options are the
servers'; the Sentinels' own are the options `sentinel_username` and `sentinel_password`. Options are redis-py's.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, quote, urlencode

from common.errors import SettingsError

Form = Literal["server", "sentinel", "cluster"]
Place = tuple[str, int]
"""Host and port."""

SENTINEL_PORT: Final = 26379
SERVER_PORT: Final = 6379

SERVER_EXAMPLE: Final = "redis://127.0.0.1:6379/0"
_EXAMPLES: Final = {
    "server": SERVER_EXAMPLE,
    "sentinel": "redis+sentinel://host1:26379,host2:26379,host3:26379/mymaster/0",
    "cluster": "redis+cluster://host1:6379,host2:6379,host3:6379",
}
_PLACE: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\s]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class RedisUrl:
    """A place where Redis is."""

    form: Form
    text: str
    is_encrypted: bool = False
    places: tuple[Place, ...] = ()
    """The Sentinels, or some nodes of the cluster: whom to ask. Of the form `server` none."""
    service: str = ""
    """What the Sentinels call the primary."""
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    user: str = ""
    """User and password of the servers, as in the text."""
    tail: str = ""
    """Database and options of the servers, as in the text."""

    def server(self, place: Place) -> str:
        """Return the URL of one server of this place."""
        host, port = place
        shown = f"[{host}]" if ":" in host else host
        return f"redis{'s' if self.is_encrypted else ''}://{self.user}{shown}:{port}{self.tail}"

    def __str__(self) -> str:
        """As it may be shown: without user, password and options."""
        scheme, _, rest = self.text.partition("?")[0].partition("://")
        authority, slash, path = rest.partition("/")
        return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def parse_redis_url(text: str) -> RedisUrl:
    """Take a URL apart. Of a plain one only the scheme is looked at; redis-py knows the rest.

    Raises:
        SettingsError: it is none. One line that says what to do.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme in ("redis", "rediss", "unix") and "://" in text:
        return RedisUrl("server", text, is_encrypted=scheme == "rediss")
    base, _, form = scheme.partition("+")
    if base not in ("redis", "rediss") or form not in ("sentinel", "cluster"):
        raise SettingsError(f"ROOMRING_REDIS_URL is not a Redis URL; write for example {SERVER_EXAMPLE}")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    options = dict(parse_qsl(query))
    sentinel_user, sentinel_password = (options.pop(f"sentinel_{name}", None) for name in ("username", "password"))
    port = SENTINEL_PORT if form == "sentinel" else SERVER_PORT
    places = tuple(_place(form, item, port) for item in hosts.split(","))
    service, _, database = path.partition("/") if form == "sentinel" else ("", "", path)
    if form == "sentinel" and not service:
        raise _wrong(form, "does not say what the Sentinels call the primary")
    if not re.fullmatch(r"[0-9]*", database) or (form == "cluster" and database not in ("", "0")):
        raise _wrong(form, f"has {database!r} where the number of a database may stand (a cluster has only 0)")
    tail = f"/{database or 0}" + (f"?{urlencode(options, quote_via=quote)}" if options else "")
    return RedisUrl(
        form="sentinel" if form == "sentinel" else "cluster",
        text=text,
        is_encrypted=base == "rediss",
        places=places,
        service=service,
        sentinel_username=sentinel_user,
        sentinel_password=sentinel_password,
        user=user + at,
        tail=tail,
    )


def _place(form: str, item: str, port: int) -> Place:
    found = _PLACE.fullmatch(item.strip())
    if found is None or not 0 < int(found[2] or port) < 65_536:
        raise _wrong(form, f"has {item!r} where a host and its port should stand")
    return found[1].strip("[]"), int(found[2] or port)


def _wrong(form: str, what: str) -> SettingsError:
    return SettingsError(f"ROOMRING_REDIS_URL {what}; write for example {_EXAMPLES[form]}")
