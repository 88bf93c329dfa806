"""A WeChat interface on the wire: a question in, bytes out, with or without mischief.

Plain ASGI: a request object and a response object would double the cost.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from wechat_sandbox.answers import (
    BAD_GATEWAY,
    HTML,
    Outcome,
    error_body,
    with_errcode_0,
)
from wechat_sandbox.calls import Call, Calls
from wechat_sandbox.cutting import CUT
from wechat_sandbox.mischief_maker import AFTER, Fate, MischiefMaker
from wechat_sandbox.question import Question, read_query

# What no honest request of these interfaces reaches.
_MAX_BODY_BYTES = 65_536

_BUSY = -1
_MAX_GARBAGE_BYTES = 256


class Handler(Protocol):
    """One interface's rules."""

    def answer(self, question: Question) -> Outcome: ...


class Endpoint:
    """Serves one interface and writes the history.

    `asker` finds app and user of a question that was never answered properly.
    `revoke` voids the access_token it is given; None for an interface that takes none.
    """

    def __init__(
        self,
        path: str,
        handler: Handler,
        *,
        content_type: bytes,
        clock: Callable[[], float],
        calls: Calls,
        mischief: MischiefMaker,
        asker: Callable[[Question], tuple[str | None, str | None]] | None = None,
        revoke: Callable[[str], None] | None = None,
    ) -> None:
        self._path = path
        self._handler = handler
        self._content_type = content_type
        self._clock = clock
        self._calls = calls
        self._mischief = mischief
        self._asker = asker
        self._revoke = revoke

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = await _read_body(receive) if scope["method"] == "POST" else b""
        question = Question(read_query(scope["query_string"]), sent, self._clock())
        if self._mischief.is_on:
            await self._suffer(question, scope, receive, send)
            return
        outcome = self._handler.answer(question)
        self._note(question, outcome, None)
        await _send(send, 200, self._content_type, _body_of(outcome, question.now))

    async def _suffer(self, question: Question, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with everything that the sequence holds for this call."""
        fate = self._mischief.fate_of(self._path)
        fault = fate.fault
        if fate.revokes_token and self._revoke is not None:
            self._revoke(question.query.get("access_token", ""))
        if fault is None or fault in AFTER:
            outcome = self._handler.answer(question)
            self._note(question, outcome, fault)
        else:
            app_id, user = self._asker(question) if self._asker else (None, None)
            outcome = Outcome(fate.errcode, app_id, user)
            is_answer = fault in ("busy", "errcode")
            self._note(question, outcome, fault, errcode=fate.errcode if is_answer else None)
        if fate.delay_s:
            await _wait_or_disconnect(fate.delay_s, receive)
        if fault in ("cut_before", "cut_after"):
            await _cut(scope, receive, hard=fate.detail < 0.5)
            return
        if fault == "html_502":
            await _send(send, 502, HTML, BAD_GATEWAY)
            return
        if fault == "busy_after":
            outcome = Outcome(_BUSY)
        body = _body_of(
            outcome, question.now, legacy=fate.legacy_errmsg, errcode_0=fate.names_errcode_0
        )
        await _send(send, 200, self._content_type, _damaged(body, fate))

    def _note(
        self, question: Question, outcome: Outcome, fault: str | None, **changes: Any
    ) -> None:
        errcode = changes.get("errcode", outcome.errcode)
        self._calls.append(
            Call(question.now, self._path, outcome.app_id, outcome.user, errcode, fault)
        )


def _body_of(
    outcome: Outcome, now: float, *, legacy: bool = False, errcode_0: bool = False
) -> bytes:
    if outcome.errcode:
        return error_body(outcome.errcode, now, legacy=legacy)
    return with_errcode_0(outcome.success) if errcode_0 else outcome.success


def _damaged(body: bytes, fate: Fate) -> bytes:
    """The body as the fate leaves it."""
    if fate.fault == "empty":
        return b""
    if fate.fault == "truncated":
        return body[: 1 + int(fate.detail * (len(body) - 1))]
    if fate.fault == "garbage":
        length = 1 + int(fate.detail * _MAX_GARBAGE_BYTES)
        # 0xff begins no UTF-8 text, so that this never makes sense by accident.
        return b"\xff" + hashlib.shake_128(repr(fate.detail).encode()).digest(length - 1)
    return body


async def _read_body(receive: Receive) -> bytes:
    """The body; what is beyond the limit is left out, and then makes no sense."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        if len(body) <= _MAX_BODY_BYTES:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    return body if len(body) <= _MAX_BODY_BYTES else b""


async def _send(send: Send, status: int, content_type: bytes, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(body)).encode("ascii")),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def _cut(scope: Scope, receive: Receive, *, hard: bool) -> None:
    """End the connection without a byte of an answer."""
    scope["extensions"][CUT]["end"](hard=hard)
    # An application that returns before the server has seen the end gets a 500 sent for it.
    while (await receive())["type"] != "http.disconnect":
        pass


async def _wait_or_disconnect(seconds: float, receive: Receive) -> None:
    """Hold an answer back, but not for a client that has gone: a stop would wait for it."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return
