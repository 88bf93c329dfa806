"""How bytes go to WeChat and come back: pooled, bounded in time and size. No JSON here.

requests' read timeout starts anew at every recv, so a server that sends a byte
now and then holds a thread for as long as it likes. Here the whole answer,
headers and body, has one end: the connection hands http.client a reader that
knows when it is over. Likewise all addresses of a host and the TLS handshake
share one connect timeout. Only the resolver keeps its own time.

No exception leaves this module, because those of requests and urllib3 hold the
URL and with it the AppSecret and the code.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import time
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

# An honest answer has under 200 bytes.
MAX_BODY_BYTES = 64 * 1024

# A pooled connection that idled longer is not used again. A server that closes it just as we
# send may or may not have read the request, so the code may be burnt and we must not repeat
# it; servers close idle connections after 5 s (uvicorn) to 75 s (nginx), so we leave first.
IDLE_LIMIT_S = 4.0

# Addresses of one host that are tried: enough to step over a dead one.
_MAX_ADDRESSES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer. `body` is None if it exceeded MAX_BODY_BYTES."""

    status: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete answer. `error` is the name of an exception class, fit for a log.

    `connected` is False if the request was certainly not sent, so that sending
    it again cannot burn a code twice.
    """

    error: str
    connected: bool
    timed_out: bool


class Transport:
    """GETs one URL with varying queries. Thread-safe; blocking.

    Reads no environment: no proxies, no netrc, no CA bundle from there. (An
    outgoing proxy would see the AppSecret of a plain-HTTP base_url; whoever
    needs a relay names it as base_url.) Follows no redirect, keeps no cookie.

    `connect_timeout_s` covers all addresses and TLS, `read_timeout_s` the whole
    answer, both in seconds; `connections` are kept open at most.
    """

    def __init__(
        self, url: str, *, connect_timeout_s: float, read_timeout_s: float, connections: int
    ) -> None:
        _silence_urllib3()
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._adapter = _BoundedAdapter(pool_connections=1, pool_maxsize=connections)
        # identity: what is capped is then what is read, with no bomb to decompress.
        headers = {"Accept-Encoding": "identity", "User-Agent": "wxauth"}
        self._template = requests.Request("GET", url, headers=headers).prepare()

    def get(self, query: str, total_s: float) -> Answer | Failure:
        """The answer to `query` (already encoded), or why there is none, within `total_s`."""
        request = self._template.copy()
        request.url = f"{self._template.url}?{query}"
        # HTTPAdapter.send documents that it takes urllib3's Timeout; its stub forgets it.
        timeout: Any = urllib3.Timeout(
            total=total_s, connect=self._connect_timeout_s, read=self._read_timeout_s
        )
        try:
            # The adapter itself: a Session would add redirects, cookies and the environment.
            with self._adapter.send(request, stream=True, timeout=timeout) as response:
                body: bytes = response.raw.read(MAX_BODY_BYTES + 1, decode_content=False)
                return Answer(response.status_code, body if len(body) <= MAX_BODY_BYTES else None)
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            # Nothing of the error but its class survives this block, nor does its context.
            return _failure_of(error)

    def close(self) -> None:
        """Drop the idle connections. Calls under way end as they would."""
        self._adapter.close()


def _failure_of(error: Exception) -> Failure:
    cause: object = error
    if isinstance(error, requests.RequestException) and error.args:
        cause = getattr(error.args[0], "reason", None) or error.args[0]
    return Failure(
        error=type(cause if isinstance(cause, Exception) else error).__name__,
        connected=not isinstance(cause, (NewConnectionError, ConnectTimeoutError)),
        timed_out=isinstance(error, requests.Timeout)
        or isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)),
    )


def _silence_urllib3() -> None:
    """Keep the URL out of the logs even when the root logger is at DEBUG.

    urllib3 logs it with every answer at DEBUG, and at WARNING when a server
    sends headers that do not parse.
    """
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


# --- Connections with an end ------------------------------------------------


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


class _BoundedAdapter(HTTPAdapter):
    """requests' adapter, without retries (its default), over the connections above.

    It serves one URL and no proxy, so it looks the pool up once and takes the
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

    def request_url(self, request: requests.PreparedRequest, proxies: object) -> str:
        return request.path_url
