"""What WeChat's errcodes mean to us, as data. Decide on the number, never on errmsg.

Source: WeChat's pages of the five calls; 40163 is undocumented and common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wxauth_server.errors import (
    AuthError,
    CodeInvalid,
    CodeUsed,
    SessionKeyInvalid,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
    WeChatUserBlocked,
)

Refusals = Mapping[int, Callable[[], AuthError]]

# "system error": WeChat is busy. The only errcode after which the same code may still work.
BUSY = -1

# What a call that takes an access_token answers to one that it does not accept: wrong or
# replaced, malformed, expired.
TOKEN_REFUSED = frozenset({40001, 40014, 42001})

_ANY: Refusals = {
    BUSY: WeChatUnavailable,
    45009: WeChatRateLimited,  # the daily quota
    45011: WeChatRateLimited,  # the minute quota
    40013: WeChatMisconfigured,  # invalid appid
    48001: WeChatMisconfigured,  # the AppId is no mini-program, or lacks this call
    40164: WeChatMisconfigured,  # our address is not on the app's white list
    41002: WeChatMisconfigured,  # appid missing: our bug
}

# What WeChat says of an AppSecret, wherever one is sent.
_SECRET: Refusals = {
    **_ANY,
    40125: WeChatMisconfigured,  # invalid appsecret
    40243: WeChatMisconfigured,  # the AppSecret is frozen
    40002: WeChatMisconfigured,  # invalid grant_type: our bug, as is the next
    41004: WeChatMisconfigured,  # appsecret missing
}

_CODE: Refusals = {
    40029: CodeInvalid,  # unknown, expired, of another app, or a mock
    40163: CodeUsed,
    40226: WeChatUserBlocked,  # high-risk user
}

CODE_TO_SESSION: Refusals = {
    **_SECRET,
    **_CODE,
    41008: WeChatMisconfigured,  # js_code missing: our bug
}

STABLE_TOKEN: Refusals = {
    **_SECRET,
    40001: WeChatMisconfigured,  # here it speaks of the AppSecret: it is wrong
    50004: WeChatMisconfigured,  # the app may not have tokens
    50007: WeChatMisconfigured,  # the app is frozen
    89501: WeChatMisconfigured,  # our address waits for the app's administrator, like the next
    89503: WeChatMisconfigured,
    89506: WeChatMisconfigured,  # who refused it for a day,
    89507: WeChatMisconfigured,  # or for an hour
}

PHONE_NUMBER: Refusals = {
    **_ANY,
    **_CODE,
    # Here it means a code of another app. Ours is known by its access_token, so this says
    # nothing of our configuration, and a user could provoke an alarm with it.
    40013: CodeInvalid,
}

SESSION_KEY: Refusals = {
    **_ANY,
    87009: SessionKeyInvalid,  # the signature is not of WeChat's session_key
    87008: WeChatMisconfigured,  # invalid sig_method: our bug
}
