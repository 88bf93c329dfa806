"""A way to a PostgreSQL server that goes dead at a COMMIT, on either side of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_COMMIT = b"COMMIT\x00"


class StoppingProxy:
    """Hands bytes through until it is told to lose a COMMIT, or the answer to one."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        #: How many connections there have been.
        self.accepted = 0
        self.loses_commits = False
        self.loses_answers_to_commits = False
        #: Set when a COMMIT, or the answer to one, was lost.
        self.has_lost = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                server = socket.create_connection(self._server)
                self._ends += [client, server]
                lost = threading.Event()
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pass_on, args=(source, target, lost), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, lost: threading.Event) -> None:
        """`lost` is of the connection: whether it goes nowhere from now on."""
        from_client = source.getsockname()[1] == self.port
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if from_client and _COMMIT in data:
                    if self.loses_commits:
                        lost.set()
                        self.has_lost.set()
                    elif self.loses_answers_to_commits:
                        lost.set()
                        target.sendall(data)
                        continue
                if lost.is_set():
                    if not from_client:
                        self.has_lost.set()
                    continue
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def stopping_proxy(port: int) -> Iterator[StoppingProxy]:
    """A proxy to a port of this machine until the block ends."""
    proxy = StoppingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
