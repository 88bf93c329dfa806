"""Ends the calls of the company's database whose time is up."""

from __future__ import annotations

import contextlib
import os
import socket
import threading

from wxauth_server.deadline import Deadline

#: What the client waits longer than the server is told to take: who ends a
#: statement by itself can go on with the connection.
GRACE_S = 0.25


class Watchdog:
    """Ends a call whose time is up, by shutting down the socket that it waits on.

    A server that is frozen keeps no time limit, and psycopg has none of its own.
    `bite` is called from another thread than the call's.
    """

    def __init__(self, timeout_s: float) -> None:
        #: When an answer is due; whoever lets it bite leaves GRACE_S more.
        self.due = Deadline(timeout_s)
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._bitten = False

    def watch(self, fileno: int) -> None:
        """From now on the call waits on this socket."""
        # One more descriptor of the same socket: the driver may close its own at any time.
        self.let_go()
        with self._lock:
            self._socket = socket.socket(fileno=os.dup(fileno))
            if self._bitten:
                _shut_down(self._socket)

    def bite(self) -> None:
        """The time is up."""
        with self._lock:
            self._bitten = True
            if self._socket is not None:
                _shut_down(self._socket)

    def is_late(self) -> bool:
        """Whether the answer was due before now."""
        return self.due.left_s() == 0

    def let_go(self) -> None:
        """The call waits on nothing."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


def _shut_down(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        connected.shutdown(socket.SHUT_RDWR)
