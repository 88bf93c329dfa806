"""The SessionId of a request: `Authorization: Bearer wxs_...`, and nothing else.

Never a cookie, which browsers would send by themselves, nor a query parameter,
which ends up in logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from wxauth_client import SessionInvalid

# RFC 6750 section 2.1 (b64token). What a SessionId looks like is the server's
# to know; 256 is far above it.
_BEARER = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9._~+/-]{1,256}=*)")


def session_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The SessionId in these headers. Raises SessionInvalid if there is not exactly one."""
    values = [value for name, value in headers if name == b"authorization"]
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        raise SessionInvalid("Send the SessionId as Authorization: Bearer.")
    return match[1].decode("ascii")


class SessionBearer(HTTPBearer):
    """The same as a FastAPI dependency, which /openapi.json shows as a security scheme."""

    def __init__(self) -> None:
        super().__init__(
            scheme_name="SessionId", description="The sessionId that POST /login answered."
        )

    async def __call__(self, request: HTTPConnection) -> str:  # type: ignore[override]  # the id itself
        return session_id(request.scope["headers"])
