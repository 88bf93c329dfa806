"""`GET /sns/jscode2session` on the wire: query in, bytes out, late if told so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from wechat_sandbox.world import World

# code2Session has 4 parameters; the rest is room for mistakes worth an honest answer.
_MAX_QUERY_FIELDS = 16


@dataclass(slots=True)
class Mischief:
    """The knobs that make this WeChat nasty; more will join.

    `slow_ms`: milliseconds that every answer of code2Session is held back. The
    code is exchanged, and so burnt, before the wait, as with a real lost answer.
    """

    slow_ms: int = 0


class CodeToSession:
    """A plain ASGI endpoint: a request object and a response object would double its cost."""

    def __init__(self, world: World, mischief: Mischief) -> None:
        self._world = world
        self._mischief = mischief

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._world.code_to_session(_query_of(scope["query_string"]))
        if self._mischief.slow_ms:
            await _wait_or_disconnect(self._mischief.slow_ms / 1000, receive)
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [
                    (b"content-type", b"text/plain"),
                    (b"content-length", str(len(body)).encode("ascii")),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})


def _query_of(query_string: bytes) -> dict[str, str]:
    """The first value of each parameter; empty when the query cannot be read."""
    query: dict[str, str] = {}
    try:
        fields = parse_qsl(query_string.decode("latin-1"), max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return query
    for name, value in fields:
        query.setdefault(name, value)
    return query


async def _wait_or_disconnect(seconds: float, receive: Receive) -> None:
    """Hold an answer back, but not for a client that has gone: a stop would wait for it."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
