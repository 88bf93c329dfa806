"""Which pages of other origins browsers let call the gateway: CORS, off unless configured.

A mini-program is no page and needs none of it. Without credentials: there are no
cookies, and a page sends its SessionId in Authorization by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope

Headers = list[tuple[bytes, bytes]]

_ORIGIN = b"origin"
_WANTED_METHOD = b"access-control-request-method"
_VARY = (b"vary", b"Origin")  # for every answer: it depends on who asks, also where it is no
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"600"),  # seconds; 10 minutes, as Chromium counts at most 2 h
]


class CrossOrigin:
    """The headers of answers for these origins, each exactly as browsers send it."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origin.encode("ascii") for origin in origins)

    def headers(self, scope: Scope) -> Headers:
        """What to add to the answer to this request, whatever its status."""
        if not self._origins:
            return []
        origin = self._origin(scope)
        if origin is None:
            return [_VARY]
        allowed = [(b"access-control-allow-origin", origin), _VARY]
        return allowed + _PREFLIGHT if _is_preflight(scope) else allowed

    def is_preflight(self, scope: Scope) -> bool:
        """Whether a browser asks for leave, and one of these origins is asking."""
        return (
            scope["method"] == "OPTIONS"
            and bool(self._origins)
            and _is_preflight(scope)
            and self._origin(scope) is not None
        )

    def _origin(self, scope: Scope) -> bytes | None:
        """The origin that asks, if it is one of ours; a browser names exactly one."""
        named = [value for name, value in scope["headers"] if name == _ORIGIN]
        return named[0] if len(named) == 1 and named[0] in self._origins else None


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == _WANTED_METHOD for name, _ in scope["headers"]
    )
