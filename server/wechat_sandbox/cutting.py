"""Ending a connection without an answer, which ASGI has no message for."""

from __future__ import annotations

import socket
import struct

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: The scope's extension: its "end" ends the connection, `hard` by a reset.
CUT = "wechat_sandbox.cut"

# l_onoff, l_linger: close() throws away what is under way and sends a reset.
_RESET = struct.pack("ii", 1, 0)


class CuttableProtocol(HttpToolsProtocol):
    """uvicorn's, which hands the application a knife for its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: {"end": self._cut}}

    def _cut(self, *, hard: bool) -> None:
        if self.transport.is_closing():
            return  # the client has hung up before: there is no socket any more
        if hard:
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
