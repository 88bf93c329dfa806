"""HTTP/1.1 on the socket: uvicorn's httptools protocol, with the bounds it lacks.

uvicorn bounds neither the size of a request's head nor the time it may take, takes
trailers for headers, queues whatever is pipelined, waits for ever for a client to
read, and answers what is not HTTP in its own words. A public gateway still belongs
behind a real proxy.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from wxauth_gateway import errors
from wxauth_gateway.edge import MAX_HEAD_BYTES, SECURITY_HEADERS
from wxauth_gateway.errors import HttpError
from wxauth_gateway.listening import Connections

HEAD_READ_TIMEOUT_S = 5.0  # also from connecting to the first request
# For a client to read what is ready for it: 48 KiB, between the two water marks of
# asyncio, or the rest. A phone on 2G has 5 KiB a second.
SEND_TIMEOUT_S = 30.0
# Of a chunked body, what is not the body: chunk sizes, their extensions, trailers.
MAX_FRAMING_BYTES = 8_192
# Requests that wait for the answers before theirs, on one connection: hardly any client
# sends one, and each is some 20 KB, made of 18 bytes.
MAX_PIPELINED = 16


class _HungUp(Exception):
    """Ends the parsing of what a client sent before we hung up."""


class BoundedHttp(HttpToolsProtocol):
    """One connection of a `listening.Server`."""

    server_state: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # It writes query strings, and whether it does depends on who configured
        # logging and when. Edge has a line of its own.
        self.access_log = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_body = False  # between a request's head and its end
        self._framing_bytes = 0
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        if self.server_state.admit(self):
            self._expect_head()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.idle.pop(self, None)
        self._head_complete()
        self._stop_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # what was on its way when we hung up
            return
        self.server_state.idle.pop(self, None)
        before = self.cycle
        super().data_received(data)
        if self.transport.is_closing():
            return
        # Edge judges heads that are complete; this is about those that never are.
        if self._head_timer is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(errors.head_too_large(MAX_HEAD_BYTES))
        elif self.cycle.response_complete:
            # Line ends between two requests, say: no request begins with them, and
            # yet uvicorn has stopped the timer that ends an idle connection.
            self._expect_head()
        elif self._in_body:
            # Counted from the second read on: other requests may share the first one.
            self._framing_bytes = self._framing_bytes + len(data) if self.cycle is before else 0
            if self._framing_bytes > MAX_FRAMING_BYTES:
                self._refuse_body(errors.framing_too_large(MAX_FRAMING_BYTES))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer is no header, whatever its name: who looks at the headers has done so.
        if not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_complete()
        self._in_body = True
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            raise _HungUp  # or the parser would go on with what it has
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self.server_state.idle[self] = None
        self._start_send_timer()

    def make_room(self) -> bool:
        """Hang up on an idle client, for another one; it opens a connection when it needs one.

        Not on one that has still to read its answer. At once: TLS would wait for the
        client's goodbye, and keep the descriptor until then.
        """
        if self.transport.get_write_buffer_size():
            return False
        self.transport.abort()
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_send_timer()
        self._start_send_timer()  # for the rest

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            self._refuse(errors.bad_request(("", "not an HTTP request")))

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(HEAD_READ_TIMEOUT_S, self.transport.close)

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_send_timer(self) -> None:
        if self._send_timer is None and self.transport.get_write_buffer_size():
            self._send_timer = self.loop.call_later(SEND_TIMEOUT_S, self._give_up_sending)

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _give_up_sending(self) -> None:
        self._send_timer = None
        # Not close(), which waits until everything is sent.
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _refuse_body(self, error: HttpError) -> None:
        if self.pipeline or self.cycle.response_started:
            self.transport.abort()  # it would be read as part of another answer
        else:
            self._refuse(error)

    def _refuse(self, error: HttpError) -> None:
        """Answer without an application, and hang up."""
        response = error.response()
        headers = [
            pair for pair in (*response.raw_headers, *SECURITY_HEADERS) if pair[0] != b"connection"
        ]
        self.transport.write(
            b"".join(
                (
                    STATUS_LINE[error.code],
                    *(name + b": " + value + b"\r\n" for name, value in headers),
                    b"connection: close\r\n\r\n",
                    bytes(response.body),
                )
            )
        )
        self.transport.close()
        self._start_send_timer()
