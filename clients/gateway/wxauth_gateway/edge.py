"""The outermost ASGI layer: what holds for every request and response, on any route.

- takes away the headers that are not the client's to send;
- bounds and checks a request's body before a framework sees it;
- puts the security headers on every response, and takes away what tells or keeps state;
- says to browsers which other origins may call;
- turns an unexpected exception into a 500 without its text, and the end of a stop into a 503;
- writes one log line a request, without query string, headers or body.

It knows no route, but for the paths that it is told to take longer bodies at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wxauth_gateway import errors, inbound_headers
from wxauth_gateway.cross_origin import CrossOrigin
from wxauth_gateway.errors import HttpError
from wxauth_gateway.strict_json import NotStrictJson, parse_object

logger = logging.getLogger("wxauth.gateway")

MAX_BODY_BYTES = 8_192  # our longest request, a login, has 2 KiB of fields
MAX_HEAD_BYTES = 8_192  # method, target and headers, after their parsing
BODY_READ_TIMEOUT_S = 10.0
MAX_DRAIN_BYTES = 1_048_576
DRAIN_TIMEOUT_S = 1.0

SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),  # answers hold SessionIds; errors are of the moment
    (b"x-content-type-options", b"nosniff"),
    # Always: where a proxy speaks TLS we cannot know, and over plain HTTP a browser
    # passes it by (RFC 6797 section 8.1). A year: ASVS 3.4.1. Not for subdomains,
    # which are not ours to speak for.
    (b"strict-transport-security", b"max-age=31536000"),
)
_DROPPED_HEADERS = frozenset(
    {b"server", b"set-cookie", b"x-powered-by", *(name for name, _ in SECURITY_HEADERS)}
)
_WITHOUT_BODY = frozenset({"GET", "HEAD"})
_CONTENT_TYPES = frozenset(
    {b"application/json", b"application/json;charset=utf-8", b'application/json;charset="utf-8"'}
)


class Edge:
    """Wraps the whole application. Errors: it raises none of its own.

    `body_limits` has the bytes of a path that takes more or less than MAX_BODY_BYTES.
    """

    def __init__(
        self, app: ASGIApp, body_limits: Mapping[str, int], cross_origin: CrossOrigin
    ) -> None:
        self._app = app
        self._body_limits = body_limits
        self._cross_origin = cross_origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        cors_headers = self._cross_origin.headers(scope)

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *(pair for pair in message["headers"] if pair[0] not in _DROPPED_HEADERS),
                    *SECURITY_HEADERS,
                    *cors_headers,
                ]
            await send(message)

        try:
            await self._serve(scope, receive, send_guarded)
        except Exception as error:
            fault = errors.of_fault(error)
            if status:  # too late to say so: the server closes the connection
                raise
            await fault.response()(scope, receive, send_guarded)
        except asyncio.CancelledError:
            # By uvicorn, for what is still under way when the time of a stop is over.
            if status:
                raise
            await errors.stopping().response()(scope, receive, send_guarded)
        finally:
            logger.info(
                "%s %s %d %.1f ms",
                scope["method"],
                _route(scope),
                status or 499,  # nginx's number for a client that left
                (time.perf_counter() - started) * 1_000,
            )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._body_limits.get(scope["path"], MAX_BODY_BYTES)
        refusal = _check_head(scope, limit)
        inbound_headers.strip(scope)
        if refusal is not None:
            await _drain(scope, receive)
        elif self._cross_origin.is_preflight(scope):
            await Response(status_code=204)(scope, receive, send)
            return
        elif scope["method"] == "POST":
            body = await _read_body(scope, receive, limit)
            if body is None:  # the client is gone
                return
            if isinstance(body, HttpError):
                refusal = body
            else:
                refusal = _check_body(body)
                receive = _replay(body, receive)
        elif scope["method"] not in _WITHOUT_BODY:
            await _drain(scope, receive)  # 405, by whoever knows the routes
        if refusal is not None:
            await refusal.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _route(scope: Scope) -> str:
    """The route as it is declared, for the log.

    Never the path as it was sent: a mistyped URL can hold anything, a password too.
    """
    return getattr(scope.get("route"), "path", "-")


def _check_head(scope: Scope, body_limit: int) -> HttpError | None:
    content_types = []
    length = 0
    chunked = False
    encoded = False
    size = len(scope["raw_path"]) + len(scope["query_string"])
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
        if name == b"content-type":
            content_types.append(value.lower().replace(b" ", b""))
        elif name == b"content-length":
            length = int(value)  # the HTTP parser has checked that it is a number
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"content-encoding":
            encoded = True
    if size > MAX_HEAD_BYTES:
        return errors.head_too_large(MAX_HEAD_BYTES)
    if length > body_limit:
        return errors.body_too_large(body_limit)
    if scope["method"] in _WITHOUT_BODY:
        return errors.body_not_expected() if chunked or length else None
    if scope["method"] != "POST":
        return None
    if encoded or not _is_json(content_types, empty=not (chunked or length)):
        return errors.not_json()
    return None


def _is_json(content_types: Iterable[bytes], *, empty: bool) -> bool:
    match list(content_types):
        case []:
            return empty  # nothing to interpret
        case [content_type]:
            return content_type in _CONTENT_TYPES
    return False


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes | HttpError | None:
    """The whole body; an error if it is too long or too slow; None if the client left."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_READ_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > limit:
                    if more:
                        await _drain(scope, receive)
                    return errors.body_too_large(limit)
                if not more:
                    return bytes(body)
    except TimeoutError:
        return errors.too_slow()


async def _drain(scope: Scope, receive: Receive) -> None:
    """Read away what a refused client is still sending, within limits.

    Hanging up on bytes that were not read resets the connection, and the client
    may never see the answer. A client that waits to be asked (Expect) or that
    announces more than the limit gets its answer at once.
    """
    headers = dict(scope["headers"])
    if b"expect" in headers or int(headers.get(b"content-length", 0)) > MAX_DRAIN_BYTES:
        return
    left = MAX_DRAIN_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_TIMEOUT_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _check_body(body: bytes) -> HttpError | None:
    if not body:
        return None
    try:
        parse_object(body)
    except NotStrictJson as problem:
        return errors.bad_request(("", str(problem)))
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then what really comes."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
