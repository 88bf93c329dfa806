"""Connections with an end: the time of connecting and of a whole answer is bounded.

requests' read timeout starts anew at every recv, so a server that sends a byte
now and then holds a thread for as long as it likes. Here the whole answer,
headers and body, has one end: the connection hands http.client a reader that
knows when it is over. Likewise all addresses of a host and the TLS handshake
share one connect timeout. Only the resolver keeps its own time.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

# A pooled connection that idled longer is not used again. A server that closes it just as we
# send may or may not have read the request, so WeChat's code may be burnt and we must not repeat
# it; servers close idle connections after 5 s (uvicorn) to 75 s (nginx), so we leave first.
IDLE_LIMIT_S = 4.0

# Addresses of one host that are tried: enough to step over a dead one.
_MAX_ADDRESSES = 3


class _ReaderWithEnd(io.RawIOBase):
    """A socket's bytes until a moment on the monotonic clock; then TimeoutError."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock = sock
        self._end = end
        # A file of the socket keeps it open when http.client closes the socket early.
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _SocketWithEnd:
    """The one method that http.client.HTTPResponse asks of its socket."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._reader = _ReaderWithEnd(sock, end)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


class _ResponseWithEnd(http.client.HTTPResponse):
    """A response whose socket timeout, at its making, is meant for all of it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        end = time.monotonic() + (sock.gettimeout() or 0.0)
        super().__init__(_SocketWithEnd(sock, end), *args, **kwargs)  # type: ignore[arg-type]  # only makefile is used


class _Bounded(HTTPConnection):
    """What both connection classes add to urllib3's."""

    response_class = _ResponseWithEnd
    _idle_since: float = 0.0

    @property
    def is_connected(self) -> bool:
        """urllib3 opens a connection anew when this says no."""
        return time.monotonic() - self._idle_since < IDLE_LIMIT_S and super().is_connected

    def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override]  # as in urllib3
        response = super().getresponse()
        self._idle_since = time.monotonic()
        return response

    def _new_conn(self) -> socket.socket:
        """Like urllib3's own, but with one connect timeout for all addresses and TLS."""
        end = time.monotonic() + (self.timeout or 0.0)
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from None
        addresses = [str(sockaddr[0]) for *_, sockaddr in found[:_MAX_ADDRESSES]]
        timed_out = False
        for remaining, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            left_s = end - time.monotonic()
            if left_s <= 0:
                timed_out = True
                break
            try:
                sock = create_connection(
                    (address, self.port), left_s / remaining, socket_options=self.socket_options
                )
            except OSError as error:
                timed_out = isinstance(error, TimeoutError)
                continue
            sock.settimeout(max(end - time.monotonic(), 0.001))
            return sock
        if timed_out:
            raise ConnectTimeoutError(self, "timed out")
        raise NewConnectionError(self, "no address accepts connections")


class _BoundedHTTPSConnection(_Bounded, HTTPSConnection):
    pass


class _BoundedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Bounded


class _BoundedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _BoundedHTTPSConnection


class BoundedAdapter(HTTPAdapter):
    """requests' adapter, without retries (its default), over the connections above.

    It serves one host and no proxy, so it looks the pool up once and takes the
    path as it is: a sixth of the CPU time of a call.
    """

    _pool: urllib3.connectionpool.ConnectionPool | None = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _BoundedHTTPPool,
            "https": _BoundedHTTPSPool,
        }

    def get_connection_with_tls_context(
        self, *args: Any, **kwargs: Any
    ) -> urllib3.connectionpool.ConnectionPool:
        pool = self._pool
        if pool is None:  # Two threads may come here at once: they get the same pool.
            pool = self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return pool

    def close(self) -> None:
        """Close the idle connections, which urllib3 leaves to the collector of garbage."""
        if self._pool is not None:
            self._pool.close()
        super().close()

    def request_url(self, request: requests.PreparedRequest, proxies: object) -> str:
        return request.path_url
