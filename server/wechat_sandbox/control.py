"""The control paths: what the phone and the test would do, and WeChat does not offer.

`POST /_control/codes`      {"appid": "…", "user": "alice"} -> {"code": "…"}, the user's wx.login
`GET  /_control/exchanges`  [{"time": …, "appid": …, "user": …, "errcode": 0}, …], oldest first
`POST /_control/slow`       {"ms": 30000} -> {"ms": 30000}, the first of the mischief knobs

A bad request gets 400 and {"error": "<what is wrong>"}; nothing it sent is repeated.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wechat_sandbox.exchange import Mischief
from wechat_sandbox.world import World

# Our limits: far above any honest use, low enough that nobody fills the memory by mistake.
MAX_BODY_BYTES = 4096
MAX_USER_CHARS = 128
MAX_SLOW_MS = 600_000


class _RequestError(Exception):
    """Its text is one of ours and goes to the caller."""


class Control:
    """The endpoints, over one world and one set of knobs."""

    def __init__(self, world: World, mischief: Mischief) -> None:
        self._world = world
        self._mischief = mischief

    def routes(self) -> list[Route]:
        return [
            Route("/_control/codes", _explaining(self._codes), methods=["POST"]),
            Route("/_control/exchanges", _explaining(self._exchanges), methods=["GET"]),
            Route("/_control/slow", _explaining(self._slow), methods=["POST"]),
        ]

    async def _codes(self, request: Request) -> Response:
        asked = await _json_object(request)
        app_id, user = asked.get("appid"), asked.get("user")
        if not isinstance(app_id, str) or not self._world.has_app(app_id):
            raise _RequestError("appid: the sandbox has no such app")
        if not isinstance(user, str) or not 1 <= len(user) <= MAX_USER_CHARS:
            raise _RequestError(f"user: must be a name of 1 to {MAX_USER_CHARS} characters")
        if not user.isprintable():  # refuses lone surrogates too, which have no UTF-8 form
            raise _RequestError("user: must be printable")
        return JSONResponse({"code": self._world.mint_code(app_id, user)})

    async def _exchanges(self, _request: Request) -> Response:
        return JSONResponse(
            [
                {
                    "time": exchange.time,
                    "appid": exchange.app_id,
                    "user": exchange.user,
                    "errcode": exchange.errcode,
                }
                for exchange in self._world.history
            ]
        )

    async def _slow(self, request: Request) -> Response:
        ms = (await _json_object(request)).get("ms")
        if type(ms) is not int or not 0 <= ms <= MAX_SLOW_MS:
            raise _RequestError(f"ms: must be a whole number from 0 to {MAX_SLOW_MS}")
        self._mischief.slow_ms = ms
        return JSONResponse({"ms": ms})


def _explaining(
    endpoint: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def explained(request: Request) -> Response:
        try:
            return await endpoint(request)
        except _RequestError as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=400)

    return explained


async def _json_object(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _RequestError(f"body: larger than {MAX_BODY_BYTES} bytes")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise _RequestError("body: not JSON") from None
    if not isinstance(value, dict):
        raise _RequestError("body: not a JSON object")
    return value
