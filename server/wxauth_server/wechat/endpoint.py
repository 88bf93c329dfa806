"""One call of WeChat's API: its retries, its circuit breaker, and what a failure means."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlencode

from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    DeadlineTooShort,
    WeChatMisconfigured,
    WeChatUnavailable,
)
from wxauth_server.outbound.breaker import CircuitBreaker, Outcome
from wxauth_server.outbound.transport import Failure, Transport
from wxauth_server.wechat.answers import Errcode, Fields, Nonsense, NoResult, read_fields
from wxauth_server.wechat.errcodes import BUSY, Refusals

_log = logging.getLogger(__name__)

# A login answers UNAVAILABLE within 3 s when WeChat stalls; this leaves it 0.2 s for the rest.
TOTAL_S = 2.8

# With less time left no call can end, so no code is spent on it.
LEAST_S = 0.02

# A caller who waits less than this proves nothing about WeChat by running out of time.
_FAIR_WAIT_S = 1.0

# Retries: at most two, over within half a second of the first failure.
_MAX_RETRIES = 2
_RETRIES_TOTAL_S = 0.5
_FIRST_BACKOFF_S = 0.05

_Result = TypeVar("_Result")


class Endpoint:
    """One path under WeChat's base URL. Thread-safe and blocking.

    Its circuit breaker is its own: a call that fails says nothing about
    another one, and logins in particular need none of the others. `refusals`
    says what its errcodes mean; `monotonic` is the breaker's clock.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        refusals: Refusals,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._path = path
        self._name = path.rpartition("/")[2]
        self._refusals = refusals
        self._breaker = CircuitBreaker(monotonic=monotonic)

    def ask(
        self,
        read: Callable[[Fields], _Result | Nonsense],
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        json_body: bytes | None = None,
    ) -> _Result | NoResult:
        """What `read` makes of the answer, or why there is none, within 2.8 s and the deadline.

        Raises DeadlineTooShort and, while the circuit is open,
        WeChatUnavailable: nothing was sent.

        Only what cannot have burnt a code is tried again: a failure to
        connect, and WeChat's own "busy".
        """
        budget_s = min(TOTAL_S, deadline.left_s())
        if budget_s < LEAST_S:
            raise DeadlineTooShort
        admission = self._breaker.admit()
        if admission.retry_after_s is not None:
            raise WeChatUnavailable(retry_after_s=admission.retry_after_s)
        # "replace": a lone surrogate is no code of WeChat's, and no reason to raise.
        encoded = urlencode(query or {}, errors="replace")
        outcome = Outcome.UNKNOWN
        try:
            answer = self._send(encoded, json_body, budget_s)
            outcome = _outcome_of(answer, budget_s)
        finally:
            if self._breaker.settle(admission, outcome):
                _log.warning("WeChat does not answer: no calls to it for a while (%s)", self._name)
        return answer if isinstance(answer, NoResult) else read(answer)

    def refusal_of(self, failure: NoResult, app_id: str) -> AuthError:
        """The error to raise; logs what the operator needs, without a word of WeChat's.

        Raise it far from any except block, so that no context holds the URL.
        """
        if isinstance(failure, Failure):
            _log.warning(
                "WeChat was not reached or did not answer: %s (%s)", failure.error, self._name
            )
            return WeChatUnavailable()
        if isinstance(failure, Nonsense):
            _log.warning("WeChat's answer makes no sense: %s (%s)", failure.what, self._name)
            return WeChatUnavailable()
        refusal = self._refusals.get(failure.number)
        if refusal is None:
            _log.warning(
                "WeChat answered with an errcode we do not know: %d (%s)",
                failure.number,
                self._name,
            )
            return WeChatUnavailable()
        if refusal is WeChatMisconfigured:
            _log.error(
                "WeChat refuses our configuration: errcode %d, app %s (%s)",
                failure.number,
                app_id,
                self._name,
            )
        return refusal()

    def _send(self, query: str, json_body: bytes | None, budget_s: float) -> Fields | NoResult:
        end = time.monotonic() + budget_s
        answer = read_fields(self._transport.send(self._path, query, budget_s, json_body))
        if _is_retryable(answer):
            end = min(end, time.monotonic() + _RETRIES_TOTAL_S)
        for retry in range(_MAX_RETRIES):
            if not _is_retryable(answer):
                break
            # S311: jitter needs no secrecy.
            backoff_s = _FIRST_BACKOFF_S * 2**retry * random.uniform(0.5, 1.5)  # noqa: S311
            if time.monotonic() + backoff_s + LEAST_S > end:
                break
            time.sleep(backoff_s)
            left_s = end - time.monotonic()
            answer = read_fields(self._transport.send(self._path, query, left_s, json_body))
        return answer


def _is_retryable(answer: Fields | NoResult) -> bool:
    if isinstance(answer, Failure):
        return not answer.connected
    return answer == Errcode(BUSY)


def _outcome_of(answer: Fields | NoResult, budget_s: float) -> Outcome:
    """Any complete answer closes the circuit: it came quickly, and what a user can
    provoke with an odd code must not shut the others out."""
    if not isinstance(answer, Failure):
        return Outcome.ANSWERED
    if answer.timed_out and budget_s < _FAIR_WAIT_S:
        return Outcome.UNKNOWN
    return Outcome.FAILED
