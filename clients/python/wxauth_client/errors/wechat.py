"""What WeChat refuses: the code, the user, the session_key, what it had encrypted."""

from __future__ import annotations

from wxauth_client.errors.base import WxauthError


class CodeInvalid(WxauthError):
    """WeChat does not know the code: call wx.login again."""

    reason = "CODE_INVALID"
    status = "UNAUTHENTICATED"

    @property
    def field(self) -> str:
        """Which code of a login: "phone_code", or "" for the one of wx.login."""
        return self.metadata.get("field", "")


class CodeUsed(WxauthError):
    """The code was used before: call wx.login again."""

    reason = "CODE_USED"
    status = "UNAUTHENTICATED"

    @property
    def field(self) -> str:
        """Which code of a login: "phone_code", or "" for the one of wx.login."""
        return self.metadata.get("field", "")


class WeChatUserBlocked(WxauthError):
    """WeChat blocks this user as high-risk."""

    reason = "WECHAT_USER_BLOCKED"
    status = "PERMISSION_DENIED"


class WeChatRateLimited(WxauthError):
    """WeChat's rate limit; see `retry_after_s`."""

    reason = "WECHAT_RATE_LIMITED"
    status = "RESOURCE_EXHAUSTED"


class WeChatUnavailable(WxauthError):
    """WeChat did not answer as it should; the code may be used up."""

    reason = "WECHAT_UNAVAILABLE"
    status = "UNAVAILABLE"


class WeChatMisconfigured(WxauthError):
    """WeChat refuses the server's own configuration: the operator's to mend."""

    reason = "WECHAT_MISCONFIGURED"
    status = "INTERNAL"


class SessionKeyInvalid(WxauthError):
    """No session_key that WeChat accepts. The session is good: log in with a new code."""

    reason = "SESSION_KEY_INVALID"
    status = "FAILED_PRECONDITION"


class UserDataInvalid(WxauthError):
    """What WeChat gave to the mini-program does not open, or is not signed by WeChat."""

    reason = "USER_DATA_INVALID"
    status = "INVALID_ARGUMENT"

    @property
    def watermark(self) -> str:
        """Why, if it does open: "APP" for another's, "STALE" if too old; else ""."""
        return self.metadata.get("watermark", "")
