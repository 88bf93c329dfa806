"""What a request must look like before anything is done with it."""

from __future__ import annotations

import ipaddress
import re

from wxauth.v1.auth_service_pb2 import (
    BatchValidateSessionsRequest,
    DeleteAccountRequest,
    ListSessionsRequest,
    LoginRequest,
    LogoutRequest,
    RevokeSessionRequest,
    UnbindRequest,
    ValidateSessionRequest,
)
from wxauth.v1.wechat_service_pb2 import (
    CheckSessionKeyRequest,
    DecryptUserDataRequest,
    GetPhoneNumberRequest,
    ResetSessionKeyRequest,
    VerifyUserDataRequest,
)
from wxauth_server.accounts.passwords import (
    MAX_PASSWORD_BYTES,
    MAX_PASSWORD_CHARACTERS,
    password_length,
)
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES
from wxauth_server.errors import RequestInvalid, SessionInvalid
from wxauth_server.rpc.violations import Violations
from wxauth_server.wechat.user_data import (
    problem_of_encrypted_data,
    problem_of_iv,
    problem_of_signature,
)

#: The limits that the contract states, in bytes of UTF-8.
MAX_APP_ID_BYTES = 64
MAX_CODE_BYTES = 128
MAX_ADDRESS_BYTES = 45
MAX_USER_AGENT_BYTES = 512
MAX_DEVICE_BYTES = 128
#: A longer SessionId is none of ours; what is refused is not worth hashing.
MAX_SESSION_ID_BYTES = 128
#: With the longest fields their answer has 967,000 bytes: under the 1 MiB that
#: server.py lets go out.
MAX_BATCH = 1_000

#: What the mini-program got from WeChat: an honest one has some hundred bytes.
MAX_USER_DATA_BYTES = 16_384

#: 22 characters of base64url carry 128 bits.
_REQUEST_ID = re.compile(r"[!-~]{22,128}")
#: 128 random bits (session_id.py).
_SESSION_HANDLE = re.compile(r"[0-9A-Za-z_-]{22}")
#: wechat-api.md section 2. What looks like neither is for WeChat to judge.
_LOGIN_CODE = re.compile(r"0[0-9A-Za-z]{31}")
_PHONE_CODE = re.compile(r"[0-9a-f]{64}")


def check_login(request: LoginRequest) -> None:
    """Raises: RequestInvalid, naming every field that is wrong."""
    violations = _Violations()
    violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
    violations.login_code("code", request.code, required=True)
    violations.text("username", request.username, MAX_USERNAME_BYTES)
    violations.password("password", request.password)
    if request.username and not request.password:
        violations.add("password", "required with username")
    if request.password and not request.username:
        violations.add("username", "required with password")
    violations.phone_code("phone_code", request.phone_code)
    if request.phone_code and request.username:
        violations.add("phone_code", "not together with username and password")
    if request.rebind and not request.username:
        violations.add("rebind", "needs username and password")
    if request.request_id and not _REQUEST_ID.fullmatch(request.request_id):
        violations.add("request_id", "not 22 to 128 visible ASCII characters")
    violations.address("client.address", request.client.address)
    violations.text("client.user_agent", request.client.user_agent, MAX_USER_AGENT_BYTES)
    violations.text("client.device", request.client.device, MAX_DEVICE_BYTES)
    violations.raise_if_any()


def check_validate(request: ValidateSessionRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)
    if request.app_id:
        violations = _Violations()
        violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
        violations.raise_if_any()


def check_batch_validate(request: BatchValidateSessionsRequest) -> None:
    """Each SessionId is judged by itself. Raises: RequestInvalid."""
    violations = _Violations()
    if not request.session_ids:
        violations.add("session_ids", "required")
    elif len(request.session_ids) > MAX_BATCH:
        violations.add("session_ids", f"more than {MAX_BATCH}")
    violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
    violations.raise_if_any()


def check_logout(request: LogoutRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)


def check_list_sessions(request: ListSessionsRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)


def check_revoke_session(request: RevokeSessionRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)
    if not request.session_handle:
        raise RequestInvalid(("session_handle", "required"))
    if not _SESSION_HANDLE.fullmatch(request.session_handle):
        raise RequestInvalid(("session_handle", "not 22 letters, digits, - and _"))


def check_proof(request: UnbindRequest | DeleteAccountRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)
    violations = _Violations()
    violations.login_code("code", request.code)
    violations.password("password", request.password)
    if not request.code and not request.password:
        violations.add("proof", "required: a code or the password")
    violations.raise_if_any()


def check_decrypt(request: DecryptUserDataRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)
    violations = _Violations()
    if violations.text(
        "encrypted_data", request.encrypted_data, MAX_USER_DATA_BYTES, required=True
    ):
        violations.problem("encrypted_data", problem_of_encrypted_data(request.encrypted_data))
    if violations.text("iv", request.iv, MAX_USER_DATA_BYTES, required=True):
        violations.problem("iv", problem_of_iv(request.iv))
    violations.raise_if_any()


def check_verify(request: VerifyUserDataRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)
    violations = _Violations()
    violations.text("raw_data", request.raw_data, MAX_USER_DATA_BYTES, required=True)
    if violations.text("signature", request.signature, MAX_USER_DATA_BYTES, required=True):
        violations.problem("signature", problem_of_signature(request.signature))
    violations.raise_if_any()


def check_phone_number(request: GetPhoneNumberRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)
    violations = _Violations()
    violations.phone_code("code", request.code, required=True)
    violations.raise_if_any()


def check_session_key(request: CheckSessionKeyRequest | ResetSessionKeyRequest) -> None:
    """Raises: RequestInvalid, SessionInvalid."""
    _check_session_id(request.session_id)


def _check_session_id(session_id: str) -> None:
    if not session_id:
        raise RequestInvalid(("session_id", "required"))
    if len(session_id) > MAX_SESSION_ID_BYTES:
        raise SessionInvalid


class _Violations(Violations):
    """Knows the forms of the fields of these messages."""

    def problem(self, field: str, problem: str | None) -> None:
        if problem is not None:
            self.add(field, problem)

    def login_code(self, field: str, value: str, *, required: bool = False) -> None:
        if self.text(field, value, MAX_CODE_BYTES, required=required) and _PHONE_CODE.fullmatch(
            value
        ):
            self.add(field, "a code of the phone number button: wx.login gives another one")

    def phone_code(self, field: str, value: str, *, required: bool = False) -> None:
        if self.text(field, value, MAX_CODE_BYTES, required=required) and _LOGIN_CODE.fullmatch(
            value
        ):
            self.add(field, "a code of wx.login: the phone number button gives another one")

    def address(self, field: str, value: str) -> None:
        if len(value.encode()) > MAX_ADDRESS_BYTES:
            self.add(field, f"longer than {MAX_ADDRESS_BYTES} bytes")
            return
        if not value:
            return
        try:
            ipaddress.ip_address(value)
        except ValueError:
            self.add(field, "not an IP address")

    def password(self, field: str, value: str) -> None:
        self.text(field, value, MAX_PASSWORD_BYTES)
        if password_length(value) > MAX_PASSWORD_CHARACTERS:
            self.add(field, f"longer than {MAX_PASSWORD_CHARACTERS} characters")
