"""The calls of WeChat's API that wxauth makes, one method each.

How a call is made is endpoint.py's, how its bytes travel is transport.py's, and
what an errcode means is errcodes.py's.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from wxauth_server.deadline import Deadline
from wxauth_server.errors import WeChatUnavailable
from wxauth_server.outbound.transport import Transport
from wxauth_server.wechat import errcodes
from wxauth_server.wechat.access_token import AccessTokens
from wxauth_server.wechat.answers import WECHAT_ID, Errcode, Fields, Nonsense, NoResult
from wxauth_server.wechat.endpoint import TOTAL_S, Endpoint
from wxauth_server.wechat.phone_number import PhoneNumber, read_phone_number
from wxauth_server.wechat.session_key import read_confirmation, read_new_key, signed_query

_log = logging.getLogger(__name__)

CODE_TO_SESSION_PATH = "/sns/jscode2session"

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class WeChatUser:
    """Who a code stood for. `unionid` is "" when WeChat sent none.

    `session_key` is the base64 text of an AES-128 key, the user's newest one.
    """

    openid: str
    unionid: str
    session_key: str = field(repr=False)


class WeChatClient:
    """Thread-safe and blocking; meant for a pool of at most `connections` threads.

    `base_url` is the scheme and host (and path prefix) of WeChat's API,
    https://api.weixin.qq.com or a sandbox. Timeouts are seconds and cover the
    whole of connecting and of reading an answer. `monotonic` is the clock of
    the circuit breakers and of the access_tokens. Raises ValueError for a
    base_url that is none.

    Every method is done within 2.8 s and its deadline, name resolution apart,
    and raises WeChatRateLimited, WeChatMisconfigured, DeadlineTooShort (nothing
    was done), and WeChatUnavailable for every failure on the way and every
    answer that makes no sense. Only what cannot have burnt a code is tried
    again: a failure to connect, and WeChat's own "busy".

    All but code_to_session need an access_token and get it by themselves; one
    that WeChat refuses is replaced once, and the call made once more. They also
    raise Overloaded when no thread can be had to fetch one.
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
            base_url,
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            connections=connections,
        )

        def endpoint(path: str, refusals: errcodes.Refusals) -> Endpoint:
            return Endpoint(self._transport, path, refusals, monotonic=monotonic)

        self._code_to_session = endpoint(CODE_TO_SESSION_PATH, errcodes.CODE_TO_SESSION)
        self._phone_number = endpoint("/wxa/business/getuserphonenumber", errcodes.PHONE_NUMBER)
        self._check_session = endpoint("/wxa/checksession", errcodes.SESSION_KEY)
        self._reset_session_key = endpoint("/wxa/resetusersessionkey", errcodes.SESSION_KEY)
        stable_token = endpoint("/cgi-bin/stable_token", errcodes.STABLE_TOKEN)
        self._tokens = AccessTokens(stable_token, monotonic=monotonic)

    def code_to_session(
        self, app_id: str, app_secret: str, code: str, deadline: Deadline
    ) -> WeChatUser:
        """Exchange `code` of wx.login for the user it stands for.

        Raises CodeInvalid, CodeUsed, WeChatUserBlocked, and what every method
        does. After a lost answer the code may be burnt.
        """
        query = {
            "appid": app_id,
            "secret": app_secret,
            "js_code": code,
            "grant_type": "authorization_code",
        }
        answer = self._code_to_session.ask(_read_user, deadline, query=query)
        if isinstance(answer, NoResult):
            raise self._code_to_session.refusal_of(answer, app_id)
        return answer

    def get_phone_number(
        self, app_id: str, app_secret: str, code: str, deadline: Deadline
    ) -> PhoneNumber:
        """Exchange `code` of the phone number button for the number.

        Raises CodeInvalid, CodeUsed, WeChatUserBlocked, and what every method
        does. After a lost answer the code may be burnt.
        """
        return self._with_token(
            self._phone_number,
            lambda fields: read_phone_number(fields, app_id),
            app_id,
            app_secret,
            deadline,
            lambda access_token: {"access_token": access_token},
            json_body=json.dumps({"code": code}).encode(),
        )

    def check_session_key(
        self, app_id: str, app_secret: str, openid: str, session_key: str, deadline: Deadline
    ) -> None:
        """Return if WeChat says that `session_key` is the user's and still good.

        Raises SessionKeyInvalid, and what every method does.
        """
        self._with_token(
            self._check_session,
            read_confirmation,
            app_id,
            app_secret,
            deadline,
            lambda access_token: signed_query(access_token, openid, session_key),
        )

    def reset_session_key(
        self, app_id: str, app_secret: str, openid: str, session_key: str, deadline: Deadline
    ) -> str:
        """The user's new session_key; the one given is dead from now on.

        Raises SessionKeyInvalid, and what every method does. After a lost
        answer the one given may be dead.
        """
        return self._with_token(
            self._reset_session_key,
            lambda fields: read_new_key(fields, openid),
            app_id,
            app_secret,
            deadline,
            lambda access_token: signed_query(access_token, openid, session_key),
        )

    def close(self) -> None:
        """Drop the idle connections."""
        self._transport.close()

    def _with_token(
        self,
        endpoint: Endpoint,
        read: Callable[[Fields], _Result | Nonsense],
        app_id: str,
        app_secret: str,
        deadline: Deadline,
        query: Callable[[str], Mapping[str, str]],
        *,
        json_body: bytes | None = None,
    ) -> _Result:
        """Ask `endpoint` with `query` of an access_token; at most twice, and never in a loop."""
        within = Deadline(min(TOTAL_S, deadline.left_s()))
        token = self._tokens.get(app_id, app_secret, within)
        answer = endpoint.ask(read, within, query=query(token), json_body=json_body)
        if isinstance(answer, Errcode) and answer.number in errcodes.TOKEN_REFUSED:
            token = self._tokens.replace(app_id, app_secret, token, within)
            answer = endpoint.ask(read, within, query=query(token), json_body=json_body)
            if isinstance(answer, Errcode) and answer.number in errcodes.TOKEN_REFUSED:
                # Somebody else keeps voiding them, or WeChat is out of order.
                _log.warning(
                    "WeChat refuses an access_token again: errcode %d, app %s",
                    answer.number,
                    app_id,
                )
                raise WeChatUnavailable
        if isinstance(answer, NoResult):
            raise endpoint.refusal_of(answer, app_id)
        return answer


def _read_user(fields: Fields) -> WeChatUser | Nonsense:
    openid, session_key = fields.get("openid"), fields.get("session_key")
    unionid = fields.get("unionid") or ""
    if not isinstance(openid, str) or not WECHAT_ID.fullmatch(openid):
        return Nonsense("no proper openid")
    if not isinstance(session_key, str) or not session_key:
        return Nonsense("no session_key")
    if not isinstance(unionid, str) or (unionid and not WECHAT_ID.fullmatch(unionid)):
        return Nonsense("no proper unionid")
    return WeChatUser(openid=openid, unionid=unionid, session_key=session_key)
