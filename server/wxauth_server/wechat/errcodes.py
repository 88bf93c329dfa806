"""What WeChat's errcodes mean to us, as data. Decide on the number, never on errmsg.

Source: WeChat's code2Session page; 40163 is undocumented and common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wxauth_server.errors import (
    AuthError,
    CodeInvalid,
    CodeUsed,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
    WeChatUserBlocked,
)

# "system error": WeChat is busy. The only errcode after which the same code may still work.
BUSY = -1

REFUSALS: Mapping[int, Callable[[], AuthError]] = {
    BUSY: WeChatUnavailable,
    40029: CodeInvalid,  # unknown, expired, of another app, or a mock
    40163: CodeUsed,
    40226: WeChatUserBlocked,  # high-risk user
    45011: WeChatRateLimited,
    40013: WeChatMisconfigured,  # invalid appid
    40125: WeChatMisconfigured,  # invalid appsecret
    48001: WeChatMisconfigured,  # the AppId is no mini-program
    40002: WeChatMisconfigured,  # invalid grant_type: our bug, as are the next three
    41002: WeChatMisconfigured,  # appid missing
    41004: WeChatMisconfigured,  # appsecret missing
    41008: WeChatMisconfigured,  # js_code missing
}
