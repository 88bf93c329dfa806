"""What the routes share in answering: writing a message, and documenting the errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from wxauth_client import AsyncAuthClient
from wxauth_gateway.messages.failures import ErrorAnswer

# Gives the client; only within the application's lifespan.
ClientSource = Callable[[], AsyncAuthClient]

_MEANINGS = {
    400: "The request is not valid; BINDING_REQUIRED, SESSION_KEY_INVALID or USER_DATA_INVALID.",
    401: "The code, the credentials or the session is not good: see `reason`.",
    403: "Not allowed: ACCOUNT_DISABLED, PROOF_INVALID or WECHAT_USER_BLOCKED.",
    404: "There is nothing at this path.",
    405: "This path takes other methods.",
    408: "The request came too slowly.",
    409: "The binding would conflict with another one.",
    413: "The body is longer than 8 KiB; 64 KiB for /wechat/user-data.",
    415: "The body is not application/json.",
    429: "Too many requests or attempts.",
    431: "The request's head is longer than 8 KiB.",
    500: "A fault on our side; `metadata.error_id` finds it in the log.",
    503: "WeChat, the store, the account system or the server is not available.",
    504: "No answer in time. What was asked may or may not have been done.",
}
_RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds to wait; with 429 where known.",
        "schema": {"type": "integer"},
    }
}
_CHALLENGE = {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}}


def answer(message: BaseModel, headers: dict[str, str] | None = None) -> Response:
    """200 with the message; absent fields are left out."""
    body = message.model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, 200, headers, media_type="application/json")


def error_responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """For FastAPI's `responses`: these errors, and those that any route can answer."""
    documented: dict[int | str, dict[str, Any]] = {}
    for code in sorted({*codes, 400, 405, 431, 500}):
        documented[code] = {"model": ErrorAnswer, "description": _MEANINGS[code]}
        if code in (429, 503, 504):
            documented[code]["headers"] = _RETRY_AFTER
        if code == 401:
            documented[code]["headers"] = _CHALLENGE
    return documented
