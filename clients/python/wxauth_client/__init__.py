"""The client of wxauth: who is this?

    from wxauth_client import AuthClient, SessionDead

    with AuthClient("127.0.0.1:50051") as auth:
        try:
            session = auth.validate(session_id)
        except SessionDead:
            ...  # answer 401: the mini-program logs in again

`AsyncAuthClient` is the same for asyncio.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from wxauth_client.credentials import Credentials
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
from wxauth_client.file_watch import FileUnusable
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

if TYPE_CHECKING:
    from wxauth_client.aio import AsyncAuthClient
    from wxauth_client.client import AuthClient

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
    "Credentials",
    "CredentialsInvalid",
    "DeadlineExceeded",
    "DeadlineTooShort",
    "DeletedAccount",
    "FileUnusable",
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

# With these comes gRPC, which who reads settings or catches errors does without.
_CLIENTS = {"AsyncAuthClient": "wxauth_client.aio", "AuthClient": "wxauth_client.client"}


def __getattr__(name: str) -> object:
    if name not in _CLIENTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_CLIENTS[name]), name)
