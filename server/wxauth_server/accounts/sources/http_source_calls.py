"""One call of the company's service: signed, bounded, and what its failures mean.

What is said is http_source_messages.py's; how bytes travel is the transport's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from wxauth_server.accounts.sources.http_source_messages import Fault, Faulty, signed_headers
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AccountSourceUnavailable
from wxauth_server.outbound.breaker import CircuitBreaker, Outcome
from wxauth_server.outbound.transport import Answer, Failure, Transport
from wxauth_server.pools import BoundedPool

log = logging.getLogger("wxauth.accounts")

# An address that swallows packets must leave time for another try.
_CONNECT_TIMEOUT_S = 1.0

# With less time left no call can end.
_LEAST_S = 0.02

# A caller who waits less than this proves nothing about the service by running out of time.
_FAIR_WAIT_S = 1.0

# Before a request that was not sent is sent after all: time for a restart to go on.
_PAUSE_S = 0.05

# The transport ends by itself, but for the resolver, which keeps its own time.
_OVERTIME_S = 0.1

# What a proxy says in front of a service that is gone. Other answers are no failures of the
# circuit: a user who finds an odd username that makes one must not shut the others out.
_NOBODY_THERE = frozenset({502, 503, 504})

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Service:
    """The company's service, as all calls of it share it."""

    name: str
    base_path: str
    key: bytes = field(repr=False)
    timeout_s: float
    transport: Transport
    #: As many threads as jobs: one more would only wait its deadline away.
    pool: BoundedPool
    clock: Clock
    monotonic: Callable[[], float]

    @classmethod
    def of(
        cls, settings: HttpSourceSettings, clock: Clock, monotonic: Callable[[], float]
    ) -> Service:
        """Raises: SourceSettingsRefused when a file that the settings name is of no use."""
        settings.check_ca_file()
        return cls(
            name=settings.name,
            base_path=urlsplit(settings.url).path,
            key=settings.signing_key(),
            timeout_s=settings.timeout_s,
            transport=Transport(
                settings.url,
                connect_timeout_s=min(_CONNECT_TIMEOUT_S, settings.timeout_s),
                read_timeout_s=settings.timeout_s,
                connections=settings.connections,
                ca_file=settings.ca_file,
            ),
            pool=BoundedPool(
                f"source-{settings.name}",
                threads=settings.connections,
                capacity=settings.connections,
            ),
            clock=clock,
            monotonic=monotonic,
        )


class Call:
    """One path under the service's URL. For one event loop.

    Its circuit breaker is its own: a call that fails says nothing about another
    one, and nobody needs `deleted` to log in.
    """

    def __init__(self, service: Service, path: str) -> None:
        self._service = service
        self._path = path
        self._breaker = CircuitBreaker(monotonic=service.monotonic)

    async def ask(
        self,
        fields: Mapping[str, str],
        read: Callable[[Answer], _Result | Faulty],
        deadline: Deadline,
    ) -> _Result:
        """What `read` makes of the answer to `fields`, within `timeout_s` and the deadline.

        The request is sent again, once, only if it certainly was not sent.
        Raises: AccountSourceUnavailable, after an alarm in the log; Overloaded.
        """
        service = self._service
        budget_s = min(service.timeout_s, deadline.left_s())
        if budget_s < _LEAST_S:
            raise AccountSourceUnavailable
        body = json.dumps(fields).encode("ascii")
        got: Answer | Failure | Faulty = Failure("TimeoutError", connected=True, timed_out=True)
        try:
            async with asyncio.timeout(budget_s + _OVERTIME_S):
                got = await service.pool.run(self._converse, body, budget_s)
        except TimeoutError:
            pass  # `got` says so; raised here, what it holds would hang on to the error
        tried = isinstance(got, Answer)
        if isinstance(got, Failure):
            tried = got.connected
            got = self._alarm(_fault_of(got), fair=self._is_fair(budget_s) or not got.timed_out)
        elif isinstance(got, Answer):
            result = read(got)
            if not isinstance(result, Faulty):
                return result
            got = self._alarm(result)
        raise AccountSourceUnavailable(got.retry_after_s, tried=tried)

    def _converse(self, body: bytes, budget_s: float) -> Answer | Failure | Faulty:
        """In a thread of the pool."""
        admission = self._breaker.admit()
        if admission.retry_after_s is not None:
            return Faulty(Fault.CIRCUIT_OPEN, "not asked", admission.retry_after_s)
        outcome = Outcome.UNKNOWN
        try:
            got = self._send(body, budget_s)
            outcome = self._outcome_of(got, budget_s)
        finally:
            if self._breaker.settle(admission, outcome):
                self._alarm(Faulty(Fault.CIRCUIT_OPEN, "not asked for a while"))
        return got

    def _send(self, body: bytes, budget_s: float) -> Answer | Failure:
        service = self._service
        path = f"{service.base_path}{self._path}"
        headers = signed_headers(
            service.key,
            timestamp_s=service.clock.now_ms() // 1000,
            request_id=secrets.token_hex(16),
            path=path,
            body=body,
        )
        end = time.monotonic() + budget_s
        got = service.transport.send(self._path, "", budget_s, body, headers)
        left_s = end - time.monotonic() - _PAUSE_S
        if isinstance(got, Failure) and not got.connected and left_s >= _LEAST_S:
            time.sleep(_PAUSE_S)
            got = service.transport.send(self._path, "", left_s, body, headers)
        return got

    def _is_fair(self, budget_s: float) -> bool:
        return budget_s >= min(_FAIR_WAIT_S, self._service.timeout_s)

    def _outcome_of(self, got: Answer | Failure, budget_s: float) -> Outcome:
        if isinstance(got, Answer):
            return Outcome.FAILED if got.status in _NOBODY_THERE else Outcome.ANSWERED
        if got.timed_out and not self._is_fair(budget_s):
            return Outcome.UNKNOWN
        return Outcome.FAILED

    def _alarm(self, faulty: Faulty, *, fair: bool = True) -> Faulty:
        """Log it, without a word of what was asked and answered; a caller's own haste softly."""
        log.log(
            logging.ERROR if fair else logging.WARNING,
            "account source failed",
            extra={
                "source": self._service.name,
                "call": self._path,
                "kind": faulty.fault.value,
                "detail": faulty.detail,
            },
        )
        return faulty


def _fault_of(failure: Failure) -> Faulty:
    if not failure.connected:
        return Faulty(Fault.CANNOT_CONNECT, failure.error)
    if failure.timed_out:
        return Faulty(Fault.TIMED_OUT, failure.error)
    if failure.error == "SSLError":
        return Faulty(Fault.TLS, failure.error)
    return Faulty(Fault.NO_ANSWER, failure.error)
