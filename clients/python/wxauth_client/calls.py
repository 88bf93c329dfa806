"""The calls as data: what is sent, how the answer is read, what counts as success.

The core that the sync and the asyncio client share. No I/O in here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from google.protobuf.message import Message

from wxauth.v1 import auth_service_pb2 as pb
from wxauth.v1 import wechat_service_pb2 as wechat_pb
from wxauth_client import retrying
from wxauth_client.errors import RequestInvalid, SessionRevoked, Violation, WxauthError
from wxauth_client.reading import (
    read_login,
    read_nothing,
    read_phone_number,
    read_session,
    read_unbound,
    read_user_data,
)
from wxauth_client.retrying import RetryPolicy
from wxauth_client.values import ClientInfo, Login, PhoneNumber, Session, Unbound, UserData

# Default deadlines. A validation is one read; a login waits for WeChat (3 s)
# and for its turn at the password hash, and may need a second attempt.
LOGIN_TIMEOUT_S = 8.0
VALIDATE_TIMEOUT_S = 0.5
UNBIND_TIMEOUT_S = 8.0
LOGOUT_TIMEOUT_S = 2.0
READY_TIMEOUT_S = 1.0
SESSION_KEY_TIMEOUT_S = 1.0  # what the server does with the session_key by itself
WECHAT_TIMEOUT_S = 4.0  # what waits for WeChat (3 s)

# 192 bits in 32 characters; the contract asks for 128 bits and 22 to 128 bytes.
_REQUEST_ID_BYTES = 24

NOTHING_SENT = "No turn came in time; nothing was sent."

#: The server's limit of a message, reliability.md section 3.
MAX_REQUEST_BYTES = 65_536

RequestT = TypeVar("RequestT", bound=Message)
AnswerT = TypeVar("AnswerT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Call(Generic[RequestT, AnswerT, ResultT]):
    """One call to make. Its repr hides the request, which holds secrets."""

    request: RequestT
    timeout_s: float
    read: Callable[[AnswerT], ResultT]
    # Gives the result of a call whose failure means that it was done before;
    # raises every other failure.
    settle: Callable[[WxauthError], ResultT]
    retries: RetryPolicy = retrying.ONCE

    def __repr__(self) -> str:
        return f"<Call {type(self.request).__name__}>"


def login(
    code: str,
    *,
    app_id: str,
    username: str,
    password: str,
    phone_code: str,
    rebind: bool,
    request_id: str | None,
    client: ClientInfo | None,
    timeout_s: float | None,
) -> Call[pb.LoginRequest, pb.LoginResponse, Login]:
    def request() -> pb.LoginRequest:
        asked = pb.LoginRequest(
            app_id=app_id,
            code=code,
            username=username,
            password=password,
            phone_code=phone_code,
            rebind=rebind,
            # One for all attempts: by it the server knows them for the same login.
            request_id=request_id or secrets.token_urlsafe(_REQUEST_ID_BYTES),
        )
        if client is not None:
            asked.client.address = client.address
            asked.client.user_agent = client.user_agent
            asked.client.device = client.device
        return asked

    return Call(
        _encodable(request),
        _or(timeout_s, LOGIN_TIMEOUT_S),
        read_login,
        _raise,
        retrying.LOGIN,
    )


def validate(
    session_id: str, app_id: str, timeout_s: float | None
) -> Call[pb.ValidateSessionRequest, pb.ValidateSessionResponse, Session]:
    return Call(
        _encodable(lambda: pb.ValidateSessionRequest(session_id=session_id, app_id=app_id)),
        _or(timeout_s, VALIDATE_TIMEOUT_S),
        read_session,
        _raise,
    )


def unbind(
    session_id: str, code: str, password: str, timeout_s: float | None
) -> Call[pb.UnbindRequest, pb.UnbindResponse, Unbound]:
    if code and password:
        raise ValueError("give code or password as proof, not both")

    def request() -> pb.UnbindRequest:
        if password:
            return pb.UnbindRequest(session_id=session_id, password=password)
        return pb.UnbindRequest(session_id=session_id, code=code)

    def settle(error: WxauthError) -> Unbound:
        if isinstance(error, SessionRevoked) and error.cause == "UNBOUND":
            return Unbound(already=True)
        raise error

    return Call(_encodable(request), _or(timeout_s, UNBIND_TIMEOUT_S), read_unbound, settle)


def logout(
    session_id: str, timeout_s: float | None
) -> Call[pb.LogoutRequest, pb.LogoutResponse, None]:
    def settle(error: WxauthError) -> None:
        if not (isinstance(error, SessionRevoked) and error.cause == "LOGOUT"):
            raise error

    return Call(
        _encodable(lambda: pb.LogoutRequest(session_id=session_id)),
        _or(timeout_s, LOGOUT_TIMEOUT_S),
        read_nothing,
        settle,
    )


def decrypt_user_data(
    session_id: str, encrypted_data: str, iv: str, timeout_s: float | None
) -> Call[wechat_pb.DecryptUserDataRequest, wechat_pb.DecryptUserDataResponse, UserData]:
    return Call(
        _encodable(
            lambda: wechat_pb.DecryptUserDataRequest(
                session_id=session_id, encrypted_data=encrypted_data, iv=iv
            )
        ),
        _or(timeout_s, SESSION_KEY_TIMEOUT_S),
        read_user_data,
        _raise,
    )


def verify_user_data(
    session_id: str, raw_data: str, signature: str, timeout_s: float | None
) -> Call[wechat_pb.VerifyUserDataRequest, wechat_pb.VerifyUserDataResponse, None]:
    return Call(
        _encodable(
            lambda: wechat_pb.VerifyUserDataRequest(
                session_id=session_id, raw_data=raw_data, signature=signature
            )
        ),
        _or(timeout_s, SESSION_KEY_TIMEOUT_S),
        read_nothing,
        _raise,
    )


def phone_number(
    session_id: str, code: str, timeout_s: float | None
) -> Call[wechat_pb.GetPhoneNumberRequest, wechat_pb.GetPhoneNumberResponse, PhoneNumber]:
    return Call(
        _encodable(lambda: wechat_pb.GetPhoneNumberRequest(session_id=session_id, code=code)),
        _or(timeout_s, WECHAT_TIMEOUT_S),
        read_phone_number,
        _raise,
    )


def check_session_key(
    session_id: str, timeout_s: float | None
) -> Call[wechat_pb.CheckSessionKeyRequest, wechat_pb.CheckSessionKeyResponse, None]:
    return Call(
        _encodable(lambda: wechat_pb.CheckSessionKeyRequest(session_id=session_id)),
        _or(timeout_s, WECHAT_TIMEOUT_S),
        read_nothing,
        _raise,
    )


def reset_session_key(
    session_id: str, timeout_s: float | None
) -> Call[wechat_pb.ResetSessionKeyRequest, wechat_pb.ResetSessionKeyResponse, None]:
    return Call(
        _encodable(lambda: wechat_pb.ResetSessionKeyRequest(session_id=session_id)),
        _or(timeout_s, WECHAT_TIMEOUT_S),
        read_nothing,
        _raise,
    )


def _raise(error: WxauthError) -> NoReturn:
    raise error


def _or(timeout_s: float | None, default_s: float) -> float:
    return default_s if timeout_s is None else timeout_s


def _encodable(request: Callable[[], RequestT]) -> RequestT:
    """Text that UTF-8 cannot hold (a lone surrogate) is a bad request, not a crash.

    So is what the server would not even read: gRPC refuses it in a way of its own.
    """
    try:
        built = request()
        if built.ByteSize() <= MAX_REQUEST_BYTES:
            return built
        too_large = RequestInvalid("The request is not valid.")
        too_large.violations = (Violation("", f"over {MAX_REQUEST_BYTES} bytes in all"),)
        raise too_large
    except UnicodeEncodeError:
        error = RequestInvalid("The request is not valid.")
        error.violations = (Violation("", "a text is not valid Unicode"),)
        # Not chained: the cause quotes the text, which may be a password.
        raise error from None
