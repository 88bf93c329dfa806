"""WeChat's calls that need an access_token, in a pool of their own.

Apart from the codes of wx.login: when these stall, logins go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from wxauth_server.apps import App
from wxauth_server.deadline import Deadline
from wxauth_server.errors import WeChatUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.wechat.client import WeChatClient
from wxauth_server.wechat.phone_number import PhoneNumber

P = ParamSpec("P")
T = TypeVar("T")

#: As of a login: the client ends within 2.8 s by itself, but for the resolver.
_PATIENCE_S = 2.9


class WeChatCalls:
    """Each raises WeChatRateLimited, WeChatUnavailable, WeChatMisconfigured,
    DeadlineTooShort and Overloaded, besides what it names.
    """

    def __init__(self, wechat: WeChatClient, pool: BoundedPool) -> None:
        self._wechat = wechat
        self._pool = pool

    async def phone_number(self, app: App, code: str, deadline: Deadline) -> PhoneNumber:
        """The number that a phone code stands for; it is spent by this.

        Raises: CodeInvalid, CodeUsed.
        """
        return await self._run(
            self._wechat.get_phone_number, app.app_id, app.secret, code, deadline
        )

    async def check_session_key(
        self, app: App, openid: str, session_key: str, deadline: Deadline
    ) -> None:
        """Raises: SessionKeyInvalid when WeChat no longer accepts it."""
        await self._run(
            self._wechat.check_session_key, app.app_id, app.secret, openid, session_key, deadline
        )

    async def reset_session_key(
        self, app: App, openid: str, session_key: str, deadline: Deadline
    ) -> str:
        """The session_key that WeChat has put in place of this one.

        Raises: SessionKeyInvalid when WeChat does not accept this one.
        """
        return await self._run(
            self._wechat.reset_session_key, app.app_id, app.secret, openid, session_key, deadline
        )

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._pool.run(call, *args, **kwargs)
        except TimeoutError:
            raise WeChatUnavailable from None
