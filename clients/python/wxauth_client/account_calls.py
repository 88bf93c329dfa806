"""The calls that prove who the user is, with a code or a password: log in, unbind, leave."""

from __future__ import annotations

import secrets

from wxauth.v1 import auth_service_pb2 as pb
from wxauth_client import retrying
from wxauth_client.call import Call, encodable, or_default, raise_failure
from wxauth_client.errors import SessionRevoked, WxauthError
from wxauth_client.reading import read_deleted_account, read_login, read_unbound
from wxauth_client.values import ClientInfo, DeletedAccount, Login, Unbound

# Default deadlines. Each waits for WeChat (3 s) or for its turn at the password
# hash, and a login may need a second attempt.
LOGIN_TIMEOUT_S = 8.0
UNBIND_TIMEOUT_S = 8.0
DELETE_ACCOUNT_TIMEOUT_S = 8.0

# 192 bits in 32 characters; the contract asks for 128 bits and 22 to 128 bytes.
_REQUEST_ID_BYTES = 24


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
        encodable(request),
        or_default(timeout_s, LOGIN_TIMEOUT_S),
        read_login,
        raise_failure,
        retrying.LOGIN,
    )


def unbind(
    session_id: str, code: str, password: str, timeout_s: float | None
) -> Call[pb.UnbindRequest, pb.UnbindResponse, Unbound]:
    _check_one_proof(code, password)

    def request() -> pb.UnbindRequest:
        if password:
            return pb.UnbindRequest(session_id=session_id, password=password)
        return pb.UnbindRequest(session_id=session_id, code=code)

    def settle(error: WxauthError) -> Unbound:
        if isinstance(error, SessionRevoked) and error.cause == "UNBOUND":
            return Unbound(already=True)
        raise error

    return Call(encodable(request), or_default(timeout_s, UNBIND_TIMEOUT_S), read_unbound, settle)


def delete_account(
    session_id: str, code: str, password: str, timeout_s: float | None
) -> Call[pb.DeleteAccountRequest, pb.DeleteAccountResponse, DeletedAccount]:
    _check_one_proof(code, password)

    def request() -> pb.DeleteAccountRequest:
        if password:
            return pb.DeleteAccountRequest(session_id=session_id, password=password)
        return pb.DeleteAccountRequest(session_id=session_id, code=code)

    def settle(error: WxauthError) -> DeletedAccount:
        if isinstance(error, SessionRevoked) and error.cause == "ACCOUNT_DELETED":
            return DeletedAccount(already=True)
        raise error

    return Call(
        encodable(request),
        or_default(timeout_s, DELETE_ACCOUNT_TIMEOUT_S),
        read_deleted_account,
        settle,
    )


def _check_one_proof(code: str, password: str) -> None:
    if code and password:
        raise ValueError("give code or password as proof, not both")
