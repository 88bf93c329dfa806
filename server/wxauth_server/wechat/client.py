"""code2Session: a mini-program's login code for the WeChat user it stands for.

How the bytes travel is transport.py's; what an errcode means is errcodes.py's.
"""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    DeadlineTooShort,
    WeChatMisconfigured,
    WeChatUnavailable,
)
from wxauth_server.wechat.breaker import CircuitBreaker, Outcome
from wxauth_server.wechat.errcodes import BUSY, REFUSALS
from wxauth_server.wechat.transport import Answer, Failure, Transport

_log = logging.getLogger(__name__)

# A login answers UNAVAILABLE within 3 s when WeChat stalls; this leaves it 0.2 s for the rest.
TOTAL_S = 2.8

# With less time left no exchange can end, so no code is spent on it.
_LEAST_S = 0.02

# A caller who waits less than this proves nothing about WeChat by running out of time.
_FAIR_WAIT_S = 1.0

# Retries: at most two, over within half a second of the first failure.
_MAX_RETRIES = 2
_RETRIES_TOTAL_S = 0.5
_FIRST_BACKOFF_S = 0.05

# Documented as 28 characters that begin with "o", of this alphabet; the length is not promised.
_WECHAT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class WeChatUser:
    """Who a code stood for. `unionid` is "" when WeChat sent none.

    `session_key` is the base64 text of an AES-128 key, the user's newest one.
    """

    openid: str
    unionid: str
    session_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Errcode:
    number: int


@dataclass(frozen=True, slots=True)
class _Nonsense:
    """`what` is a text of ours, fit for a log."""

    what: str


class WeChatClient:
    """Thread-safe and blocking; meant for a pool of at most `connections` threads.

    `base_url` is the scheme and host (and path prefix) of WeChat's API,
    https://api.weixin.qq.com or a sandbox. Timeouts are seconds and cover the
    whole of connecting and of reading an answer. `monotonic` is the circuit
    breaker's clock. Raises ValueError for a base_url that is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 2.5,
        connections: int = 64,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url: must be http(s)://host, optionally with port and path")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("base_url: must hold no user, query or fragment")
        self._transport = Transport(
            base_url.rstrip("/") + "/sns/jscode2session",
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            connections=connections,
        )
        self._breaker = CircuitBreaker(monotonic=monotonic)

    def code_to_session(
        self, app_id: str, app_secret: str, code: str, deadline: Deadline
    ) -> WeChatUser:
        """Exchange `code`; done within 2.8 s and the deadline, name resolution apart.

        Raises CodeInvalid, CodeUsed, WeChatUserBlocked, WeChatRateLimited,
        WeChatMisconfigured, DeadlineTooShort (nothing was sent), and
        WeChatUnavailable for every failure on the way and every answer that
        makes no sense. After a lost answer the code may be burnt.

        Only what cannot have burnt the code is tried again: a failure to
        connect, and WeChat's own "busy".
        """
        budget_s = min(TOTAL_S, deadline.left_s())
        if budget_s < _LEAST_S:
            raise DeadlineTooShort
        admission = self._breaker.admit()
        if admission.retry_after_s is not None:
            raise WeChatUnavailable(retry_after_s=admission.retry_after_s)
        outcome = Outcome.UNKNOWN
        try:
            answer = self._ask(app_id, app_secret, code, budget_s)
            outcome = _outcome_of(answer, budget_s)
        finally:
            if self._breaker.settle(admission, outcome):
                _log.warning("WeChat does not answer: no calls to it for a while")
        if isinstance(answer, WeChatUser):
            return answer
        # Raised here, far from any except block, so that no context holds the URL.
        raise _refusal_of(answer, app_id)

    def close(self) -> None:
        """Drop the idle connections."""
        self._transport.close()

    def _ask(
        self, app_id: str, app_secret: str, code: str, budget_s: float
    ) -> WeChatUser | _Errcode | _Nonsense | Failure:
        query = urlencode(
            {
                "appid": app_id,
                "secret": app_secret,
                "js_code": code,
                "grant_type": "authorization_code",
            },
            errors="replace",  # a lone surrogate is no code of WeChat's, and no reason to raise
        )
        end = time.monotonic() + budget_s
        answer = _read(self._transport.get(query, budget_s))
        if _is_retryable(answer):
            end = min(end, time.monotonic() + _RETRIES_TOTAL_S)
        for retry in range(_MAX_RETRIES):
            if not _is_retryable(answer):
                break
            # S311: jitter needs no secrecy.
            backoff_s = _FIRST_BACKOFF_S * 2**retry * random.uniform(0.5, 1.5)  # noqa: S311
            if time.monotonic() + backoff_s + _LEAST_S > end:
                break
            time.sleep(backoff_s)
            answer = _read(self._transport.get(query, end - time.monotonic()))
        return answer


def _is_retryable(answer: WeChatUser | _Errcode | _Nonsense | Failure) -> bool:
    if isinstance(answer, Failure):
        return not answer.connected
    return answer == _Errcode(BUSY)


def _outcome_of(answer: WeChatUser | _Errcode | _Nonsense | Failure, budget_s: float) -> Outcome:
    """Any complete answer closes the circuit: it came quickly, and what a user can
    provoke with an odd code must not shut the others out."""
    if not isinstance(answer, Failure):
        return Outcome.ANSWERED
    if answer.timed_out and budget_s < _FAIR_WAIT_S:
        return Outcome.UNKNOWN
    return Outcome.FAILED


def _refusal_of(answer: _Errcode | _Nonsense | Failure, app_id: str) -> AuthError:
    """The error to raise; logs what the operator needs, without a word of WeChat's."""
    if isinstance(answer, Failure):
        _log.warning("WeChat was not reached or did not answer: %s", answer.error)
        return WeChatUnavailable()
    if isinstance(answer, _Nonsense):
        _log.warning("WeChat's answer makes no sense: %s", answer.what)
        return WeChatUnavailable()
    refusal = REFUSALS.get(answer.number)
    if refusal is None:
        _log.warning("WeChat answered with an errcode we do not know: %d", answer.number)
        return WeChatUnavailable()
    if refusal is WeChatMisconfigured:
        _log.error("WeChat refuses our configuration: errcode %d, app %s", answer.number, app_id)
    return refusal()


def _read(answer: Answer | Failure) -> WeChatUser | _Errcode | _Nonsense | Failure:
    """What the bytes say, whatever their Content-Type."""
    if isinstance(answer, Failure):
        return answer
    if answer.status != 200:
        return _Nonsense(f"HTTP status {answer.status}")
    if answer.body is None:
        return _Nonsense("too long")
    try:
        fields = json.loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        return _Nonsense("not JSON in UTF-8")
    if not isinstance(fields, dict):
        return _Nonsense("not a JSON object")
    errcode = fields.get("errcode", 0)
    if type(errcode) is not int:
        return _Nonsense("errcode is no number")
    if errcode != 0:
        return _Errcode(errcode)
    openid, session_key = fields.get("openid"), fields.get("session_key")
    unionid = fields.get("unionid") or ""
    if not isinstance(openid, str) or not _WECHAT_ID.fullmatch(openid):
        return _Nonsense("no proper openid")
    if not isinstance(session_key, str) or not session_key:
        return _Nonsense("no session_key")
    if unionid and not (isinstance(unionid, str) and _WECHAT_ID.fullmatch(unionid)):
        return _Nonsense("no proper unionid")
    return WeChatUser(openid=openid, unionid=unionid, session_key=session_key)
