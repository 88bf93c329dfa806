"""The channel of an AsyncAuthClient, and the one that takes over when its certificates change.

Its twin for threads is in connection.py, and says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from grpc_health.v1 import (
    health_pb2,
    health_pb2_grpc,
)

from wxauth.v1 import auth_service_pb2_grpc, wechat_service_pb2_grpc
from wxauth_client.access import Access, Metadata, channel_credentials
from wxauth_client.admission import CLOSED, NOBODYS_SESSION, NOT_SERVING, Takeover, obstacle_in
from wxauth_client.aio_looking import AsyncLooks
from wxauth_client.certificates import Certificates
from wxauth_client.channel import SERVICE
from wxauth_client.errors import ServerUnreachable, WxauthError
from wxauth_client.reading import error_of

if TYPE_CHECKING:
    from wxauth.v1.auth_service_pb2_grpc import AuthServiceAsyncStub
    from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceAsyncStub


class AsyncLink:
    """A channel, its stubs, and what it connects with."""

    def __init__(self, access: Access, certificates: Certificates | None) -> None:
        self.certificates = certificates
        self._channel = (
            grpc.aio.insecure_channel(access.address, options=access.options)
            if certificates is None
            else grpc.aio.secure_channel(
                access.address, channel_credentials(certificates), options=access.options
            )
        )
        self.auth: AuthServiceAsyncStub = auth_service_pb2_grpc.AuthServiceStub(self._channel)
        self.wechat: WeChatServiceAsyncStub = wechat_service_pb2_grpc.WeChatServiceStub(
            self._channel
        )
        # Any: the published stubs leave its methods out.
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    async def serves(self, timeout_s: float) -> bool:
        """Whether the server says so. Raises: grpc.RpcError."""
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        answer = await self._health.Check(request, timeout=timeout_s)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def obstacle(self, metadata: Metadata, timeout_s: float) -> WxauthError | None:
        """What stands in the way of calls; connects, if that was not done."""
        try:
            await self.auth.ValidateSession(NOBODYS_SESSION, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            return obstacle_in(error_of(error, self.certificates))
        return None

    async def close(self) -> None:
        await self._channel.close()


class AsyncConnection:
    """The link that calls go to, in one event loop."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._looks = AsyncLooks(access)
        self._takeover = Takeover()
        self._exchanging = False
        self._closed = False
        # All that are open, with the number of calls on each.
        self._calls: dict[AsyncLink, int] = {}
        self._used = self._open(access.certificates())
        self._next: AsyncLink | None = None

    @asynccontextmanager
    async def link(self, timeout_s: float) -> AsyncIterator[AsyncLink]:
        """The link for a call that has so much time; stays open while the block lasts.

        A call has the files looked at first, where that is due. If there are new
        certificates it tries them. Both take at most half of its time; the others go
        on with the old link meanwhile. Raises CancelledError if the connection is
        closed under it, as gRPC does.
        """
        if not self._closed:
            await self._follow(timeout_s / 2)
        if self._closed:
            raise asyncio.CancelledError
        link = self._used
        self._calls[link] += 1
        try:
            yield link
        finally:
            await self._leave(link)

    async def obstacle(self, timeout_s: float) -> WxauthError | None:
        """What stands in the way of calls: the server is not there, or does not let us in."""
        end = asyncio.get_running_loop().time() + timeout_s

        def left_s() -> float:
            return end - asyncio.get_running_loop().time()

        try:
            async with self.link(timeout_s) as link:
                try:
                    if not await link.serves(left_s()):
                        return ServerUnreachable(NOT_SERVING)
                except grpc.RpcError as error:
                    return error_of(error, link.certificates)
                if self._closed:  # of which gRPC would say that it is used wrongly
                    return ServerUnreachable(CLOSED)
                return await link.obstacle(self._access.metadata(), left_s())
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            return ServerUnreachable(CLOSED)

    async def close(self) -> None:
        """Close every channel; calls still under way are cancelled."""
        self._closed = True
        self._looks.close()
        links = list(self._calls)
        self._calls.clear()
        for link in links:
            await link.close()

    async def _follow(self, timeout_s: float) -> None:
        end = asyncio.get_running_loop().time() + timeout_s
        await self._looks.look(timeout_s)
        certificates = self._access.certificates()
        if certificates == self._used.certificates and self._next is None:
            return
        if not self._exchanging:
            self._exchanging = True
            try:
                left_s = end - asyncio.get_running_loop().time()
                await self._exchange(certificates, left_s)
            finally:
                self._exchanging = False

    async def _exchange(self, certificates: Certificates | None, timeout_s: float) -> None:
        """Let a link with these certificates take over if calls get through on it.

        One that does not yet is kept: it goes on connecting by itself.
        """
        if self._next is not None and self._next.certificates != certificates:
            other, self._next = self._next, None
            await self._retire(other)
        if certificates == self._used.certificates or self._closed:
            return
        if self._next is None:
            self._next = self._open(certificates)
        elif not self._takeover.may_try():
            return
        obstacle = await self._next.obstacle(self._access.metadata(), timeout_s)
        if self._takeover.after(certificates, obstacle):
            old, self._used, self._next = self._used, self._next, None
            await self._retire(old)

    def _open(self, certificates: Certificates | None) -> AsyncLink:
        link = AsyncLink(self._access, certificates)
        self._calls[link] = 0
        return link

    async def _retire(self, link: AsyncLink) -> None:
        """Close it when its calls have ended. Each has a deadline, so they do."""
        if self._calls.get(link) == 0:
            del self._calls[link]
            await link.close()

    async def _leave(self, link: AsyncLink) -> None:
        if self._closed:
            return
        self._calls[link] -= 1
        if link is not self._used:
            await self._retire(link)


def is_cancelled() -> bool:
    """Whether the task that is told so is: gRPC says the same of a channel that was closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
