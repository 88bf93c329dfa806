"""Headers that are not the client's to send: taken away before any route sees them.

Services behind proxies believe such headers, since only the proxy should have
written them. The gateway believes none; this makes sure that nothing in it ever
does. A name with an underscore goes too: CGI and WSGI take it for the same name
with a hyphen, and so it passes by the filter of the one for the other.
"""

from __future__ import annotations

from functools import lru_cache

from starlette.types import Scope

# Exactly this name: X_Forwarded_For, which some servers take for the same, is another.
_FORWARDED_FOR = b"x-forwarded-for"
_PREFIXES = (b"x-forwarded-", b"x-user-", b"x-internal-", b"x-wxauth-", b"grpc-")
_NAMES = frozenset({b"forwarded", b"x-real-ip"})

# Of the ASGI scope; ClientAddress alone knows how much of it is true.
_KEY = "wxauth.forwarded_for"


def strip(scope: Scope) -> None:
    """Take them away; `forwarded_for` still gives X-Forwarded-For."""
    headers = scope["headers"]
    scope["headers"] = [header for header in headers if _is_of_clients(header[0])]
    scope[_KEY] = (
        [value for name, value in headers if name == _FORWARDED_FOR]
        if len(scope["headers"]) < len(headers)
        else []
    )


# Clients send the same few names all the time, and every request passes here.
@lru_cache(maxsize=512)
def _is_of_clients(name: bytes) -> bool:
    return not (b"_" in name or name in _NAMES or name.startswith(_PREFIXES))


def forwarded_for(scope: Scope) -> bytes:
    """X-Forwarded-For as it came; its lines are one list, in their order: RFC 9110 section 5.3."""
    return b",".join(scope[_KEY])
