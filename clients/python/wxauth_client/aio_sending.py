"""One call by grpc.aio: its turn, its attempts and its deadline. Its twin is in sending.py."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TypeAlias

import grpc
import grpc.aio

from wxauth_client.access import Access
from wxauth_client.admission import CLOSED
from wxauth_client.aio_connection import AsyncConnection, AsyncLink, is_cancelled
from wxauth_client.call import NOTHING_SENT, AnswerT, Call, RequestT, ResultT
from wxauth_client.errors import DeadlineExceeded, ServerUnreachable, WxauthError
from wxauth_client.reading import error_of
from wxauth_client.retrying import next_delay_s

# The method of a call, on the channel that it goes to. A text: gRPC has no generic classes.
Method: TypeAlias = "Callable[[AsyncLink], grpc.aio.UnaryUnaryMultiCallable[RequestT, AnswerT]]"


class AsyncSender:
    """Makes calls in one event loop, at most `max_in_flight` on the wire at a time."""

    def __init__(self, connection: AsyncConnection, access: Access, max_in_flight: int) -> None:
        self._connection = connection
        self._access = access
        self._slots = asyncio.Semaphore(max_in_flight)
        self._closed = asyncio.Event()

    async def make(
        self,
        method: Method[RequestT, AnswerT],
        call: Call[RequestT, AnswerT, ResultT],
    ) -> ResultT:
        """The call's result, after its turn and its retries. Raises WxauthError."""
        end = asyncio.get_running_loop().time() + call.timeout_s
        attempts = 0
        failure: WxauthError | None = None
        while True:
            if not await self._acquire_slot(end):
                return call.settle(failure or DeadlineExceeded(NOTHING_SENT))
            try:
                answer = await self._send(method, call, end)
            finally:
                self._slots.release()
            if not isinstance(answer, WxauthError):
                return call.read(answer)
            attempts += 1
            failure = answer
            left_s = end - asyncio.get_running_loop().time()
            chance = random.random()  # noqa: S311 - a jitter
            delay_s = next_delay_s(call.retries, attempts, failure, left_s, chance)
            if delay_s is None or await self._closed_within(delay_s):
                return call.settle(failure)

    def close(self) -> None:
        """Send nothing more; a call that waits for its next attempt ends with its last failure."""
        self._closed.set()

    async def _send(
        self,
        method: Method[RequestT, AnswerT],
        call: Call[RequestT, AnswerT, ResultT],
        end: float,
    ) -> AnswerT | WxauthError:
        """One attempt. The failure is given, not raised: a traceback of gRPC's own
        would come with it.
        """
        loop = asyncio.get_running_loop()
        most_s = min(end - loop.time(), call.retries.attempt_timeout_s)
        try:
            async with self._connection.link(most_s) as link:
                timeout_s = min(end - loop.time(), call.retries.attempt_timeout_s)
                metadata = self._access.metadata()
                try:
                    return await method(link)(call.request, timeout=timeout_s, metadata=metadata)
                except grpc.RpcError as error:
                    return error_of(error, link.certificates)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            # Nobody cancelled this task: the client was closed under the call.
            return ServerUnreachable(CLOSED)

    async def _acquire_slot(self, end: float) -> bool:
        if not self._slots.locked():
            return await self._slots.acquire()  # at once
        try:
            async with asyncio.timeout_at(end):
                return await self._slots.acquire()
        except TimeoutError:
            return False

    async def _closed_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                return await self._closed.wait()
        except TimeoutError:
            return False
