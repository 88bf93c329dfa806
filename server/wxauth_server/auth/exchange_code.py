"""Step 3: the code from wx.login becomes a WeChat user."""

from __future__ import annotations

from wxauth_server.apps import App
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CodeInvalid
from wxauth_server.wechat.client import WeChatClient, WeChatUser

#: What the developer tool gives without an AppId. Several projects left it in
#: as a back door; it is refused here, whatever WeChat or a sandbox would say.
MOCK_CODE = "the code is a mock one"


def exchange_code(wechat: WeChatClient, app: App, code: str, deadline: Deadline) -> WeChatUser:
    """Ask WeChat who the code belongs to. Blocking. The code is spent by this.

    Raises: CodeInvalid, CodeUsed, WeChatUserBlocked, WeChatRateLimited,
    WeChatUnavailable, WeChatMisconfigured.
    """
    if code == MOCK_CODE:
        raise CodeInvalid
    return wechat.code_to_session(app.app_id, app.secret, code, deadline)
