"""Every way a call can fail: one class per reason of the contract, and a few of our own.

`error_reason.proto` says what each reason means; `reading.py` makes these from
what came over the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class WxauthError(Exception):
    """A call that failed. Decide on the class or on `reason`, never on `message`.

    - `reason`: the name in `ErrorReason` without its prefix, such as
      "SESSION_EXPIRED"; for failures that no server reported, the client's own.
    - `status`: the name of the gRPC status code, such as "UNAUTHENTICATED".
    - `message`: for people; a fixed text of the server's, or what gRPC says.
    - `metadata`: what the contract lists for the reason.
    - `retry_after_s`: seconds after which the same call may succeed; None where
      the server did not say that waiting helps.
    """

    reason: str = ""
    status: str = "UNKNOWN"

    def __init__(
        self,
        message: str = "",
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason


# --- The request ------------------------------------------------------------


class Violation(NamedTuple):
    """What is wrong with one field; `field` is its name in the .proto file."""

    field: str
    problem: str


class RequestInvalid(WxauthError):
    """The request cannot succeed however often it is sent; `violations` say why."""

    reason = "REQUEST_INVALID"
    status = "INVALID_ARGUMENT"
    violations: Sequence[Violation] = ()


class DeadlineTooShort(WxauthError):
    """The server had too little time left to begin; nothing was done."""

    reason = "DEADLINE_TOO_SHORT"
    status = "DEADLINE_EXCEEDED"


class Internal(WxauthError):
    """A fault of the server; its log explains `metadata["error_id"]`."""

    reason = "INTERNAL"
    status = "INTERNAL"


# --- The code and WeChat ----------------------------------------------------


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


# --- Credentials and binding ------------------------------------------------


class CredentialsInvalid(WxauthError):
    """Username and password do not match an enabled account."""

    reason = "CREDENTIALS_INVALID"
    status = "UNAUTHENTICATED"


class BindingRequired(WxauthError):
    """No account yet: ask for username and password, log in with a new code."""

    reason = "BINDING_REQUIRED"
    status = "FAILED_PRECONDITION"


class OpenidAlreadyBound(WxauthError):
    """This WeChat user is bound to another account."""

    reason = "OPENID_ALREADY_BOUND"
    status = "ALREADY_EXISTS"


class AccountAlreadyBound(WxauthError):
    """The account is bound to another WeChat user."""

    reason = "ACCOUNT_ALREADY_BOUND"
    status = "ALREADY_EXISTS"


class AccountDisabled(WxauthError):
    """The account bound to this WeChat user is disabled."""

    reason = "ACCOUNT_DISABLED"
    status = "PERMISSION_DENIED"


class ProofInvalid(WxauthError):
    """The code or password is not the session owner's."""

    reason = "PROOF_INVALID"
    status = "PERMISSION_DENIED"


# --- Sessions ---------------------------------------------------------------


class SessionDead(WxauthError):
    """Base of the three below: the SessionId opens nothing, the user logs in again."""

    status = "UNAUTHENTICATED"


class SessionInvalid(SessionDead):
    """Malformed, never issued, or of another mini-program."""

    reason = "SESSION_INVALID"


class SessionExpired(SessionDead):
    """Reached a limit of its lifetime."""

    reason = "SESSION_EXPIRED"

    @property
    def limit(self) -> str:
        """Which limit: "idle" or "absolute"."""
        return self.metadata.get("limit", "")


class SessionRevoked(SessionDead):
    """Ended before its time."""

    reason = "SESSION_REVOKED"

    @property
    def cause(self) -> str:
        """Why, such as "LOGOUT" or "UNBOUND"; error_reason.proto lists the causes."""
        return self.metadata.get("cause", "")


# --- Capacity, store and caller ---------------------------------------------


class Throttled(WxauthError):
    """Too many attempts; see `retry_after_s`."""

    reason = "THROTTLED"
    status = "RESOURCE_EXHAUSTED"


class Overloaded(WxauthError):
    """The server is at its capacity; see `retry_after_s`."""

    reason = "OVERLOADED"
    status = "RESOURCE_EXHAUSTED"


class StoreUnavailable(WxauthError):
    """The store failed; a write that was under way may or may not have happened."""

    reason = "STORE_UNAVAILABLE"
    status = "UNAVAILABLE"


class CallerUnauthenticated(WxauthError):
    """This service did not prove to the server who it is. Says nothing about the user."""

    reason = "CALLER_UNAUTHENTICATED"
    status = "UNAUTHENTICATED"


class CallerForbidden(WxauthError):
    """This service may not call this method. Says nothing about the user."""

    reason = "CALLER_FORBIDDEN"
    status = "PERMISSION_DENIED"


# --- Failures without a reason of the contract ------------------------------


class ServerUnreachable(WxauthError):
    """No answer of a wxauth server: refused, lost or cancelled on the way, or not let in."""

    reason = "SERVER_UNREACHABLE"
    status = "UNAVAILABLE"


class DeadlineExceeded(WxauthError):
    """The client's own deadline passed. What was asked may or may not have been done."""

    reason = "DEADLINE_EXCEEDED"
    status = "DEADLINE_EXCEEDED"


class ProtocolError(WxauthError):
    """An answer that is not of this contract: a foreign server, or one far newer."""

    reason = "PROTOCOL_ERROR"
    status = "INTERNAL"


class UnknownReason(WxauthError):
    """A reason newer than this client. `reason` and `status` are the server's."""

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        status: str = "UNKNOWN",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, metadata=metadata, retry_after_s=retry_after_s)
        self.reason = reason
        self.status = status


# What the server can answer. A test holds it against the enum: one class each.
OF_THE_CONTRACT: Mapping[str, type[WxauthError]] = {
    error.reason: error
    for error in (
        CodeInvalid,
        CodeUsed,
        CredentialsInvalid,
        SessionInvalid,
        SessionExpired,
        SessionRevoked,
        BindingRequired,
        OpenidAlreadyBound,
        AccountAlreadyBound,
        AccountDisabled,
        ProofInvalid,
        WeChatUserBlocked,
        WeChatRateLimited,
        Throttled,
        Overloaded,
        WeChatUnavailable,
        StoreUnavailable,
        WeChatMisconfigured,
        CallerUnauthenticated,
        CallerForbidden,
        RequestInvalid,
        DeadlineTooShort,
        Internal,
        SessionKeyInvalid,
        UserDataInvalid,
    )
}
