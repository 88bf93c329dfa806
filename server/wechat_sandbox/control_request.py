"""What a control path was asked: fields read one by one, each with its own refusal."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

# Our limits: far above any honest use, low enough that nobody fills the memory by mistake.
MAX_BODY_BYTES = 65_536
MAX_NAME_CHARS = 128
# Above any field of ours, below the shortest secret of WeChat's, a session_key of
# 24: a name that is repeated is none that slipped into the wrong place.
_MOST_REPEATED_CHARS = 23


class RequestRefused(Exception):
    """Its text is one of ours and goes to the caller: 400 and {"error": "…"}."""


class Asked:
    """The JSON object of a request. Every method raises RequestRefused."""

    def __init__(self, fields: dict[str, Any], known: tuple[str, ...]) -> None:
        for name in fields:
            if name not in known:
                short = len(name) <= _MOST_REPEATED_CHARS and name.isprintable()
                named = repr(name) if short else "of a long or unprintable name"
                raise RequestRefused(f"body: has a field besides {', '.join(known)}: {named}")
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def name(self, field: str) -> str:
        """A name of 1 to 128 printable characters."""
        value = self._fields.get(field)
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME_CHARS:
            raise RequestRefused(f"{field}: must be a name of 1 to {MAX_NAME_CHARS} characters")
        if not value.isprintable():  # refuses lone surrogates too, which have no UTF-8 form
            raise RequestRefused(f"{field}: must be printable")
        return value

    def digits(self, field: str, least: int, most: int) -> str:
        """ASCII digits, `least` to `most` of them, the first no 0."""
        value = self._fields.get(field)
        if (
            not isinstance(value, str)
            or not least <= len(value) <= most
            or not (value.isascii() and value.isdigit())
            or value[0] == "0"
        ):
            raise RequestRefused(f"{field}: must be {least} to {most} digits, the first no 0")
        return value

    def number(self, field: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number."""
        value = self._fields.get(field, default)
        if type(value) is not int or not least <= value <= most:
            raise RequestRefused(f"{field}: must be a whole number from {least} to {most}")
        return value

    def flag(self, field: str) -> bool:
        value = self._fields.get(field)
        if not isinstance(value, bool):
            raise RequestRefused(f"{field}: must be true or false")
        return value

    def one_of(self, field: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self._fields.get(field, default)
        if value not in allowed:
            raise RequestRefused(f"{field}: must be one of {', '.join(allowed)}")
        return str(value)

    def object(self, field: str) -> dict[str, Any]:
        value = self._fields.get(field)
        if not isinstance(value, dict):
            raise RequestRefused(f"{field}: must be a JSON object")
        return value

    def is_null(self, field: str) -> bool:
        """Whether the field is there and null."""
        return field in self._fields and self._fields[field] is None


async def read_object(request: Request) -> dict[str, Any]:
    """The body of a request; its Content-Type does not matter. Raises RequestRefused."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RequestRefused(f"body: larger than {MAX_BODY_BYTES} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RequestRefused("body: not JSON") from None
    if not isinstance(value, dict):
        raise RequestRefused("body: not a JSON object")
    return value


def explaining(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint, with a refusal turned into an answer."""

    async def explained(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RequestRefused as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=400)

    return explained
