"""The calls about sessions that a SessionId alone opens: whose it is, and what may end."""

from __future__ import annotations

from wxauth.v1 import auth_service_pb2 as pb
from wxauth_client.call import Call, encodable, or_default, raise_failure
from wxauth_client.errors import SessionRevoked, WxauthError
from wxauth_client.reading import read_nothing, read_own_sessions, read_session
from wxauth_client.values import OwnSession, Session

# Default deadlines. A validation is one read, in the path of another request; the
# others are what a user waits for.
VALIDATE_TIMEOUT_S = 0.5
LOGOUT_TIMEOUT_S = 2.0
LIST_SESSIONS_TIMEOUT_S = 2.0
REVOKE_SESSION_TIMEOUT_S = 2.0


def validate(
    session_id: str, app_id: str, timeout_s: float | None
) -> Call[pb.ValidateSessionRequest, pb.ValidateSessionResponse, Session]:
    return Call(
        encodable(lambda: pb.ValidateSessionRequest(session_id=session_id, app_id=app_id)),
        or_default(timeout_s, VALIDATE_TIMEOUT_S),
        read_session,
        raise_failure,
    )


def logout(
    session_id: str, timeout_s: float | None
) -> Call[pb.LogoutRequest, pb.LogoutResponse, None]:
    def settle(error: WxauthError) -> None:
        if not (isinstance(error, SessionRevoked) and error.cause == "LOGOUT"):
            raise error

    return Call(
        encodable(lambda: pb.LogoutRequest(session_id=session_id)),
        or_default(timeout_s, LOGOUT_TIMEOUT_S),
        read_nothing,
        settle,
    )


def list_sessions(
    session_id: str, timeout_s: float | None
) -> Call[pb.ListSessionsRequest, pb.ListSessionsResponse, list[OwnSession]]:
    return Call(
        encodable(lambda: pb.ListSessionsRequest(session_id=session_id)),
        or_default(timeout_s, LIST_SESSIONS_TIMEOUT_S),
        read_own_sessions,
        raise_failure,
    )


def revoke_session(
    session_id: str, handle: str, timeout_s: float | None
) -> Call[pb.RevokeSessionRequest, pb.RevokeSessionResponse, None]:
    # That the asking session has ended by LOGOUT is no success here: it says
    # nothing of the session with this handle.
    return Call(
        encodable(lambda: pb.RevokeSessionRequest(session_id=session_id, session_handle=handle)),
        or_default(timeout_s, REVOKE_SESSION_TIMEOUT_S),
        read_nothing,
        raise_failure,
    )
