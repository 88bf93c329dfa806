"""The channel of an AuthClient, and the one that takes over when its certificates change.

gRPC for Python cannot exchange the certificates of a channel. Its twin for asyncio
is in aio_connection.py.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import (
    health_pb2,
    health_pb2_grpc,
)

from wxauth.v1 import auth_service_pb2_grpc, wechat_service_pb2_grpc
from wxauth_client.access import Access, Metadata, channel_credentials
from wxauth_client.admission import CLOSED, NOBODYS_SESSION, NOT_SERVING, Takeover, obstacle_in
from wxauth_client.certificates import Certificates
from wxauth_client.channel import SERVICE
from wxauth_client.errors import ServerUnreachable, WxauthError
from wxauth_client.reading import error_of


class Link:
    """A channel, its stubs, and what it connects with."""

    def __init__(self, access: Access, certificates: Certificates | None) -> None:
        self.certificates = certificates
        self._channel = (
            grpc.insecure_channel(access.address, options=access.options)
            if certificates is None
            else grpc.secure_channel(
                access.address, channel_credentials(certificates), options=access.options
            )
        )
        self.auth = auth_service_pb2_grpc.AuthServiceStub(self._channel)
        self.wechat = wechat_service_pb2_grpc.WeChatServiceStub(self._channel)
        # Any: the published stubs leave its methods out.
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def serves(self, timeout_s: float) -> bool:
        """Whether the server says so. Raises: grpc.RpcError."""
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        answer = self._health.Check(request, timeout=timeout_s)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def obstacle(self, metadata: Metadata, timeout_s: float) -> WxauthError | None:
        """What stands in the way of calls; connects, if that was not done."""
        try:
            self.auth.ValidateSession(NOBODYS_SESSION, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            return obstacle_in(error_of(error, self.certificates))
        return None

    def close(self) -> None:
        self._channel.close()


class Connection:
    """The link that calls go to. Thread-safe."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._takeover = Takeover()
        # Held for moments only; `_exchanging` while a new link is tried.
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()
        self._closed = False
        # All that are open, with the number of calls on each.
        self._calls: dict[Link, int] = {}
        self._used = self._open(access.certificates())
        self._next: Link | None = None

    @contextmanager
    def link(self, timeout_s: float) -> Iterator[Link]:
        """The link for a call that has so much time; stays open while the block lasts.

        A call looks at the files first, where that is due. If it finds new certificates
        it tries them, for at most half of its time; the others go on with the old link
        meanwhile. Raises ValueError if the connection is closed under it, as gRPC does.
        """
        self._follow(timeout_s / 2)
        with self._lock:
            link = self._used
            if not self._closed:
                self._calls[link] += 1
        try:
            yield link
        finally:
            self._leave(link)

    def obstacle(self, timeout_s: float) -> WxauthError | None:
        """What stands in the way of calls: the server is not there, or does not let us in."""
        end = time.monotonic() + timeout_s
        try:
            with self.link(timeout_s) as link:
                try:
                    if not link.serves(end - time.monotonic()):
                        return ServerUnreachable(NOT_SERVING)
                except grpc.RpcError as error:
                    return error_of(error, link.certificates)
                return link.obstacle(self._access.metadata(), end - time.monotonic())
        except ValueError:
            if self._closed:  # which gRPC says in this way
                return ServerUnreachable(CLOSED)
            raise

    def close(self) -> None:
        """Close every channel; calls still under way are cancelled."""
        with self._lock:
            self._closed = True
            links = list(self._calls)
            self._calls.clear()
        for link in links:
            link.close()

    def _follow(self, timeout_s: float) -> None:
        self._access.look()
        certificates = self._access.certificates()
        if certificates == self._used.certificates and self._next is None:
            return
        if self._exchanging.acquire(blocking=False):
            try:
                self._exchange(certificates, timeout_s)
            finally:
                self._exchanging.release()

    def _exchange(self, certificates: Certificates | None, timeout_s: float) -> None:
        """Let a link with these certificates take over if calls get through on it.

        One that does not yet is kept: it goes on connecting by itself.
        """
        if self._next is not None and self._next.certificates != certificates:
            other, self._next = self._next, None
            self._retire(other)
        if certificates == self._used.certificates:
            return
        if self._next is None:
            self._next = self._open(certificates)
        elif not self._takeover.may_try():
            return
        obstacle = self._next.obstacle(self._access.metadata(), timeout_s)
        if self._takeover.after(certificates, obstacle):
            with self._lock:
                old, self._used, self._next = self._used, self._next, None
            self._retire(old)

    def _open(self, certificates: Certificates | None) -> Link:
        link = Link(self._access, certificates)
        with self._lock:
            if self._closed:
                link.close()
            else:
                self._calls[link] = 0
        return link

    def _retire(self, link: Link) -> None:
        """Close it when its calls have ended. Each has a deadline, so they do."""
        with self._lock:
            unused = self._calls.get(link) == 0
            if unused:
                del self._calls[link]
        if unused:
            link.close()

    def _leave(self, link: Link) -> None:
        with self._lock:
            if self._closed:
                return
            self._calls[link] -= 1
            retired = link is not self._used
        if retired:
            self._retire(link)
