"""Every way a call can be refused, as the domain knows it. No transport here.

Handlers and use cases raise these; `rpc/status.py` turns them into a gRPC
status and is the only place that does. The texts are fixed: nothing that a
driver, WeChat or a caller wrote ever gets into them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from wxauth.v1.error_reason_pb2 import ErrorReason


class AuthError(Exception):
    """A refusal with a reason of the contract.

    `metadata` goes to the caller with the reason. `retry_after_s` says after
    how many seconds the same call may succeed, and is None where waiting does
    not help.
    """

    reason: ClassVar[ErrorReason.ValueType]
    message: ClassVar[str]
    metadata: Mapping[str, str] = {}
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.message

    @classmethod
    def reason_name(cls) -> str:
        """The reason as callers read it, for example "SESSION_EXPIRED"."""
        return ErrorReason.Name(cls.reason).removeprefix("ERROR_REASON_")


# --- The request ------------------------------------------------------------


class RequestInvalid(AuthError):
    """The request cannot succeed as it is. `violations` are (field, what is wrong)."""

    reason = ErrorReason.ERROR_REASON_REQUEST_INVALID
    message = "The request is not valid."

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__()
        self.violations: Sequence[tuple[str, str]] = violations

    def __str__(self) -> str:
        described = "; ".join(f"{field}: {problem}" for field, problem in self.violations)
        return described or self.message


class DeadlineTooShort(AuthError):
    reason = ErrorReason.ERROR_REASON_DEADLINE_TOO_SHORT
    message = "The deadline leaves no time to begin; nothing was done."


class Internal(AuthError):
    """A fault of ours. `error_id` finds its explanation in the log."""

    reason = ErrorReason.ERROR_REASON_INTERNAL
    message = "Internal error. The operator finds the cause in the log by its error_id."

    def __init__(self, error_id: str) -> None:
        super().__init__()
        self.metadata = {"error_id": error_id}


# --- Step 3: the code -------------------------------------------------------


class CodeInvalid(AuthError):
    """`field` is "phone_code" for the phone code of a login."""

    reason = ErrorReason.ERROR_REASON_CODE_INVALID
    message = "WeChat does not accept this code. Get a new one."

    def __init__(self, field: str = "") -> None:
        super().__init__()
        if field:
            self.metadata = {"field": field}


class CodeUsed(AuthError):
    """`field` is "phone_code" for the phone code of a login."""

    reason = ErrorReason.ERROR_REASON_CODE_USED
    message = "This code was used before. Get a new one."

    def __init__(self, field: str = "") -> None:
        super().__init__()
        if field:
            self.metadata = {"field": field}


class WeChatUserBlocked(AuthError):
    reason = ErrorReason.ERROR_REASON_WECHAT_USER_BLOCKED
    message = "WeChat blocks this user."


class WeChatRateLimited(AuthError):
    """WeChat's quota (45011, 45009); wechat-api.md section 2: wait at least 60 s."""

    reason = ErrorReason.ERROR_REASON_WECHAT_RATE_LIMITED
    message = "WeChat limits the rate of calls."
    retry_after_s = 60.0


class WeChatUnavailable(AuthError):
    reason = ErrorReason.ERROR_REASON_WECHAT_UNAVAILABLE
    message = "WeChat does not answer as it should. Try again shortly."

    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class WeChatMisconfigured(AuthError):
    """WeChat refuses our AppId, AppSecret or request: the operator's to mend."""

    reason = ErrorReason.ERROR_REASON_WECHAT_MISCONFIGURED
    message = "This mini-program is not configured correctly on the server."


# --- Step 4: credentials and binding ----------------------------------------


class CredentialsInvalid(AuthError):
    reason = ErrorReason.ERROR_REASON_CREDENTIALS_INVALID
    message = "Username or password is wrong."

    def __init__(self, account: tuple[str, str] | None = None) -> None:
        super().__init__()
        #: (source, id) of the account that was meant, for the audit log only.
        self.account = account


class BindingRequired(AuthError):
    reason = ErrorReason.ERROR_REASON_BINDING_REQUIRED
    message = "This WeChat user has no account here yet: username and password are needed."


class OpenidAlreadyBound(AuthError):
    reason = ErrorReason.ERROR_REASON_OPENID_ALREADY_BOUND
    message = "This WeChat user is bound to another account."


class AccountAlreadyBound(AuthError):
    reason = ErrorReason.ERROR_REASON_ACCOUNT_ALREADY_BOUND
    message = "This account is bound to another WeChat user."


class AccountDisabled(AuthError):
    reason = ErrorReason.ERROR_REASON_ACCOUNT_DISABLED
    message = "This account is disabled."


class ProofInvalid(AuthError):
    reason = ErrorReason.ERROR_REASON_PROOF_INVALID
    message = "The proof does not belong to the owner of this session."


# --- Step 7: sessions -------------------------------------------------------


class SessionInvalid(AuthError):
    reason = ErrorReason.ERROR_REASON_SESSION_INVALID
    message = "This is no session of this mini-program. Log in again."


class SessionExpired(AuthError):
    """`limit` is "idle" or "absolute"."""

    reason = ErrorReason.ERROR_REASON_SESSION_EXPIRED
    message = "The session has expired. Log in again."

    def __init__(self, limit: str) -> None:
        super().__init__()
        self.metadata = {"limit": limit}


class SessionRevoked(AuthError):
    """`cause` is one of the causes that error_reason.proto lists."""

    reason = ErrorReason.ERROR_REASON_SESSION_REVOKED
    message = "The session was ended. Log in again."

    def __init__(self, cause: str) -> None:
        super().__init__()
        self.metadata = {"cause": cause}


# --- What a session allows with WeChat --------------------------------------


class SessionKeyInvalid(AuthError):
    reason = ErrorReason.ERROR_REASON_SESSION_KEY_INVALID
    message = "There is no good session_key for this session. Log in with a new code."


class UserDataInvalid(AuthError):
    """`watermark` is "" for data that does not open, else "APP" or "STALE"."""

    reason = ErrorReason.ERROR_REASON_USER_DATA_INVALID
    message = "This is no data that WeChat made for this session."

    def __init__(self, watermark: str = "") -> None:
        super().__init__()
        if watermark:
            self.metadata = {"watermark": watermark}


# --- What operators ask for -------------------------------------------------


class NotFound(AuthError):
    """`what` is "account", "binding" or "session"."""

    reason = ErrorReason.ERROR_REASON_NOT_FOUND
    message = "There is no such thing."

    def __init__(self, what: str) -> None:
        super().__init__()
        self.metadata = {"what": what}

    def __str__(self) -> str:
        return f"There is no such {self.metadata['what']}."


class AccountExists(AuthError):
    """`field` is "id" or "username": what another account of the source has already."""

    reason = ErrorReason.ERROR_REASON_ACCOUNT_EXISTS
    message = "There is such an account already."

    def __init__(self, field: str) -> None:
        super().__init__()
        self.metadata = {"field": field}

    def __str__(self) -> str:
        return f"There is an account with this {self.metadata['field']} already."


class CallerUnauthenticated(AuthError):
    reason = ErrorReason.ERROR_REASON_CALLER_UNAUTHENTICATED
    message = "The calling service did not prove who it is."


class CallerForbidden(AuthError):
    """`caller` is the name that the operator gave the calling service."""

    reason = ErrorReason.ERROR_REASON_CALLER_FORBIDDEN
    message = "The calling service has no role that may call this method."

    def __init__(self, caller: str) -> None:
        super().__init__()
        self.metadata = {"caller": caller}


# --- Capacity, the store and the account source ------------------------------


class Overloaded(AuthError):
    reason = ErrorReason.ERROR_REASON_OVERLOADED
    message = "The server is at its capacity. Try again shortly."
    retry_after_s = 1.0


class Throttled(AuthError):
    """Too many attempts; `retry_after_s` is up to 15 minutes."""

    reason = ErrorReason.ERROR_REASON_THROTTLED
    message = "Too many attempts. Try again later."

    def __init__(self, retry_after_s: float) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s


class AccountSourceUnavailable(AuthError):
    """The company's own account system did not answer, or not as it should.

    `tried` says that it may have looked at a password nevertheless.
    """

    reason = ErrorReason.ERROR_REASON_ACCOUNT_SOURCE_UNAVAILABLE
    message = "The account system is not available. Try again shortly."

    def __init__(self, retry_after_s: float = 1.0, *, tried: bool = False) -> None:
        super().__init__()
        self.retry_after_s = retry_after_s
        self.tried = tried


class StoreUnavailable(AuthError):
    """The store failed; a write that was under way may or may not have happened."""

    reason = ErrorReason.ERROR_REASON_STORE_UNAVAILABLE
    message = "The store is not available. Try again shortly."
    retry_after_s = 1.0
