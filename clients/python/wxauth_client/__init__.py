"""The client of wxauth: who is this?

    from wxauth_client import AuthClient, SessionDead

    with AuthClient("127.0.0.1:50051") as auth:
        try:
            session = auth.validate(session_id)
        except SessionDead:
            ...  # answer 401: the mini-program logs in again

`AsyncAuthClient` is the same for asyncio.
"""

from wxauth_client.aio import AsyncAuthClient
from wxauth_client.client import AuthClient
from wxauth_client.errors import (
    AccountAlreadyBound,
    AccountDisabled,
    AccountExists,
    AccountSourceUnavailable,
    BindingRequired,
    CallerForbidden,
    CallerUnauthenticated,
    CodeInvalid,
    CodeUsed,
    CredentialsInvalid,
    DeadlineExceeded,
    DeadlineTooShort,
    Internal,
    NotFound,
    OpenidAlreadyBound,
    Overloaded,
    ProofInvalid,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    SessionDead,
    SessionExpired,
    SessionInvalid,
    SessionKeyInvalid,
    SessionRevoked,
    StoreUnavailable,
    Throttled,
    UnknownReason,
    UserDataInvalid,
    Violation,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
    WeChatUserBlocked,
    WxauthError,
)
from wxauth_client.values import (
    Account,
    ClientInfo,
    DeletedAccount,
    Login,
    OwnSession,
    PhoneNumber,
    Session,
    Unbound,
    UserData,
)

__all__ = [
    "Account",
    "AccountAlreadyBound",
    "AccountDisabled",
    "AccountExists",
    "AccountSourceUnavailable",
    "AsyncAuthClient",
    "AuthClient",
    "BindingRequired",
    "CallerForbidden",
    "CallerUnauthenticated",
    "ClientInfo",
    "CodeInvalid",
    "CodeUsed",
    "CredentialsInvalid",
    "DeadlineExceeded",
    "DeadlineTooShort",
    "DeletedAccount",
    "Internal",
    "Login",
    "NotFound",
    "OpenidAlreadyBound",
    "Overloaded",
    "OwnSession",
    "PhoneNumber",
    "ProofInvalid",
    "ProtocolError",
    "RequestInvalid",
    "ServerUnreachable",
    "Session",
    "SessionDead",
    "SessionExpired",
    "SessionInvalid",
    "SessionKeyInvalid",
    "SessionRevoked",
    "StoreUnavailable",
    "Throttled",
    "Unbound",
    "UnknownReason",
    "UserData",
    "UserDataInvalid",
    "Violation",
    "WeChatMisconfigured",
    "WeChatRateLimited",
    "WeChatUnavailable",
    "WeChatUserBlocked",
    "WxauthError",
]
