"""One call by gRPC for threads: its turn, its attempts and its deadline.

Its twin for asyncio is in aio_sending.py.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

import grpc

from wxauth_client.access import Access
from wxauth_client.admission import CLOSED
from wxauth_client.call import NOTHING_SENT, AnswerT, Call, RequestT, ResultT
from wxauth_client.connection import Connection, Link
from wxauth_client.errors import DeadlineExceeded, ServerUnreachable, WxauthError
from wxauth_client.reading import error_of
from wxauth_client.retrying import next_delay_s

# The method of a call, on the channel that it goes to. A text: gRPC has no generic classes.
Method: TypeAlias = "Callable[[Link], grpc.UnaryUnaryMultiCallable[RequestT, AnswerT]]"


class Sender:
    """Makes calls from any thread, at most `max_in_flight` on the wire at a time."""

    def __init__(self, connection: Connection, access: Access, max_in_flight: int) -> None:
        self._connection = connection
        self._access = access
        self._slots = threading.BoundedSemaphore(max_in_flight)
        self._closed = threading.Event()

    def make(
        self,
        method: Method[RequestT, AnswerT],
        call: Call[RequestT, AnswerT, ResultT],
    ) -> ResultT:
        """The call's result, after its turn and its retries. Raises WxauthError."""
        end = time.monotonic() + call.timeout_s
        attempts = 0
        failure: WxauthError | None = None
        while True:
            if not self._slots.acquire(timeout=max(0.0, end - time.monotonic())):
                return call.settle(failure or DeadlineExceeded(NOTHING_SENT))
            try:
                answer = self._send(method, call, end)
            finally:
                self._slots.release()
            if not isinstance(answer, WxauthError):
                return call.read(answer)
            attempts += 1
            failure = answer
            left_s = end - time.monotonic()
            chance = random.random()  # noqa: S311 - a jitter
            delay_s = next_delay_s(call.retries, attempts, failure, left_s, chance)
            if delay_s is None or self._closed.wait(delay_s):
                return call.settle(failure)

    def close(self) -> None:
        """Send nothing more; a call that waits for its next attempt ends with its last failure."""
        self._closed.set()

    def _send(
        self,
        method: Method[RequestT, AnswerT],
        call: Call[RequestT, AnswerT, ResultT],
        end: float,
    ) -> AnswerT | WxauthError:
        """One attempt. The failure is given, not raised: a traceback of gRPC's own
        would come with it.
        """
        most_s = min(end - time.monotonic(), call.retries.attempt_timeout_s)
        try:
            with self._connection.link(most_s) as link:
                timeout_s = min(end - time.monotonic(), call.retries.attempt_timeout_s)
                metadata = self._access.metadata()
                try:
                    return method(link)(call.request, timeout=timeout_s, metadata=metadata)
                except grpc.RpcError as error:
                    return error_of(error, link.certificates)
        except ValueError:
            if self._closed.is_set():  # which gRPC says in this way
                return ServerUnreachable(CLOSED)
            raise
