"""HTTP/1.1 on the socket: uvicorn's httptools protocol, with the bounds it lacks.

uvicorn bounds neither the size of a request's head nor the time it may take, waits
for ever for a client to read, and answers what is not HTTP in its own words. A
public gateway still belongs behind a real proxy.
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
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self.server_state.opening.discard(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server_state.idle.pop(self, None)
        self._head_complete()
        self._stop_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.server_state.idle.pop(self, None)
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

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        self._head_complete()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None:
            self.server_state.idle[self] = None
        self._start_send_timer()

    def make_room(self) -> None:
        """Hang up on an idle client, for another one; it opens a connection when it needs one."""
        self.server_state.idle.pop(self, None)
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_send_timer()
        self._start_send_timer()  # for the rest

    def send_400_response(self, msg: str) -> None:
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
