"""Step 3: the code from wx.login becomes a WeChat user."""

from __future__ import annotations

import asyncio

from wxauth_server.apps import App
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CodeInvalid, WeChatUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.wechat.client import WeChatClient, WeChatUser

#: What the developer tool gives without an AppId. Several projects left it in
#: as a back door; it is refused here, whatever WeChat or a sandbox would say.
MOCK_CODE = "the code is a mock one"

#: The client ends within 2.8 s by itself, but for the resolver, which knows no
#: timeout. A login answers within 3 s when WeChat stalls (reliability.md row 11).
_PATIENCE_S = 2.9


class CodeExchange:
    """Asks WeChat who a code belongs to, in the pool for that."""

    def __init__(self, wechat: WeChatClient, pool: BoundedPool) -> None:
        self._wechat = wechat
        self._pool = pool

    async def exchange(self, app: App, code: str, deadline: Deadline) -> WeChatUser:
        """The WeChat user of a code, which is spent by this.

        Raises: CodeInvalid, CodeUsed, WeChatUserBlocked, WeChatRateLimited,
        WeChatUnavailable, WeChatMisconfigured, DeadlineTooShort, Overloaded.
        """
        if code == MOCK_CODE:
            raise CodeInvalid
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._pool.run(
                    self._wechat.code_to_session, app.app_id, app.secret, code, deadline
                )
        except TimeoutError:
            raise WeChatUnavailable from None
