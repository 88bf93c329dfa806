"""Every way a call can fail: one class per reason of the contract, and a few of our own.

`error_reason.proto` says what each reason means; `reading.py` makes these from
what came over the wire.
"""

from __future__ import annotations

from collections.abc import Mapping

from wxauth_client.errors.accounts import (
    AccountAlreadyBound,
    AccountDisabled,
    AccountExists,
    AccountSourceUnavailable,
    BindingRequired,
    CredentialsInvalid,
    NotFound,
    OpenidAlreadyBound,
    ProofInvalid,
)
from wxauth_client.errors.base import (
    WxauthError,
)
from wxauth_client.errors.outside_contract import (
    DeadlineExceeded,
    ProtocolError,
    ServerUnreachable,
    UnknownReason,
)
from wxauth_client.errors.server import (
    CallerForbidden,
    CallerUnauthenticated,
    DeadlineTooShort,
    Internal,
    Overloaded,
    RequestInvalid,
    StoreUnavailable,
    Throttled,
    Violation,
)
from wxauth_client.errors.sessions import (
    SessionDead,
    SessionExpired,
    SessionInvalid,
    SessionRevoked,
)
from wxauth_client.errors.wechat import (
    CodeInvalid,
    CodeUsed,
    SessionKeyInvalid,
    UserDataInvalid,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
    WeChatUserBlocked,
)

__all__ = [
    "OF_THE_CONTRACT",
    "AccountAlreadyBound",
    "AccountDisabled",
    "AccountExists",
    "AccountSourceUnavailable",
    "BindingRequired",
    "CallerForbidden",
    "CallerUnauthenticated",
    "CodeInvalid",
    "CodeUsed",
    "CredentialsInvalid",
    "DeadlineExceeded",
    "DeadlineTooShort",
    "Internal",
    "NotFound",
    "OpenidAlreadyBound",
    "Overloaded",
    "ProofInvalid",
    "ProtocolError",
    "RequestInvalid",
    "ServerUnreachable",
    "SessionDead",
    "SessionExpired",
    "SessionInvalid",
    "SessionKeyInvalid",
    "SessionRevoked",
    "StoreUnavailable",
    "Throttled",
    "UnknownReason",
    "UserDataInvalid",
    "Violation",
    "WeChatMisconfigured",
    "WeChatRateLimited",
    "WeChatUnavailable",
    "WeChatUserBlocked",
    "WxauthError",
]

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
        AccountSourceUnavailable,
        NotFound,
        AccountExists,
    )
}
