"""The URL of a PostgreSQL database: what may stand in it, and what of it may be told.

Read here, and not by the driver only: it takes a password with an `@` in it for
another host, and quotes what it does not understand.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from wxauth_client.target import is_loopback

PORT = 5432

# What has a meaning in a URL is escaped elsewhere: user, password and database.
_PART = r"[^:/?#@\[\]\s]"
_URL = re.compile(
    rf"postgres(?:ql)?://(?:{_PART}+(?::{_PART}*)?@)?"
    rf"(?P<hosts>[^/?#@\s]*)/(?P<database>{_PART}+)(?:\?(?P<options>[^?#\s]+))?"
)
_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")

# None: any value. What is not here is ours to set, as time limits are, or is of no use.
_OPTIONS: dict[str, set[str] | None] = {
    "host": None,
    "port": None,
    "sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"},
    "sslrootcert": None,
    "sslcert": None,
    "sslkey": None,
    "sslcrl": None,
    "channel_binding": {"disable", "prefer", "require"},
    "require_auth": None,
    "target_session_attrs": {"primary", "read-write"},
}


class DatabaseUrlRefused(ValueError):
    """A URL that cannot be used. The text says why, and nothing of the URL but a host."""


class DatabasePlace(NamedTuple):
    """Where a database is: what of its URL is no secret."""

    #: (host, port); a host that begins with / is the directory of a Unix socket.
    hosts: tuple[tuple[str, int], ...]
    database: str
    #: The option of this name, "" if it is not given.
    sslmode: str

    def __str__(self) -> str:
        where = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{where}/{self.database}"


def read_database_url(url: str) -> DatabasePlace:
    """What a URL says. Nothing is connected to or looked up. Raises: DatabaseUrlRefused."""
    found = _URL.fullmatch(url)
    if found is None or _ESCAPES.fullmatch(url) is None:
        raise DatabaseUrlRefused(
            "not a URL of a PostgreSQL database; write it as "
            "postgresql://user:password@host:5432/database, with %-escapes for signs like "
            "@ : / % in the password"
        )
    options = _options(found["options"] or "")
    place = DatabasePlace(
        hosts=_hosts(found["hosts"], options),
        database=unquote(found["database"]),
        sslmode=options.get("sslmode", ""),
    )
    if len(place.hosts) > 1 and "target_session_attrs" not in options:
        raise DatabaseUrlRefused(
            "several hosts need target_session_attrs=read-write behind the ?: what a standby "
            "says is behind the times"
        )
    away = [host for host, _ in place.hosts if not (host.startswith("/") or is_loopback(host))]
    if away and not place.sslmode:
        raise DatabaseUrlRefused(
            f"{away[0]} is not this machine: say how the connection is protected, with "
            "sslmode=verify-full&sslrootcert=FILE behind the ?, or with another sslmode where "
            "nobody else is on that network"
        )
    return place


def _options(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, strict_parsing=True) if text else []
    except ValueError:
        raise DatabaseUrlRefused("what is behind the ? is not option=value&option=value") from None
    for name, value in pairs:
        if name not in _OPTIONS:
            raise DatabaseUrlRefused(
                "there is an option behind the ? that is not known; those are: "
                + ", ".join(_OPTIONS)
            )
        allowed = _OPTIONS[name]
        if allowed is not None and value not in allowed:
            raise DatabaseUrlRefused(f"{name} is one of {', '.join(sorted(allowed))}")
    options = dict(pairs)
    if len(options) < len(pairs):
        raise DatabaseUrlRefused("an option behind the ? is there more than once")
    return options


def _hosts(text: str, options: dict[str, str]) -> tuple[tuple[str, int], ...]:
    socket = options.get("host", "")
    if text and not (socket or "port" in options):
        return tuple(map(_host, text.split(",")))
    port = options.get("port", str(PORT))
    if text or not socket.startswith("/"):
        raise DatabaseUrlRefused(
            "name the host before the /; host and port behind the ? are for the directory of a "
            "Unix socket, as in postgresql:///database?host=/run/postgresql"
        )
    return ((socket, _port(port)),)


def _host(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise DatabaseUrlRefused(
            "a host is a name or an address, one of IPv6 in brackets, perhaps with :PORT; "
            "commas separate several"
        )
    return found["host"], _port(found["port"] or str(PORT))


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65_536:
        return int(text)
    raise DatabaseUrlRefused("a port is a number from 1 to 65535")
