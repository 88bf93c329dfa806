"""A user's phone with a live session: what the mini-program does with WeChatService."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests

from tests.running_server import RunningServer
from wxauth.v1 import wechat_service_pb2
from wxauth.v1.wechat_service_pb2 import (
    CheckSessionKeyRequest,
    DecryptUserDataRequest,
    DecryptUserDataResponse,
    GetPhoneNumberRequest,
    ResetSessionKeyRequest,
    VerifyUserDataRequest,
)
from wxauth_server.config import DEMO_APP_ID, DEMO_APP_SECRET

CHECK = "/wxa/checksession"
RESET = "/wxa/resetusersessionkey"
PHONE = "/wxa/business/getuserphonenumber"
NO_BASE64 = "not standard base64"
SPACE = "contains a space where a + was: it was not URL-encoded on the way"
#: A whole block of zeros.
BLOCK = base64.b64encode(bytes(16)).decode()


@dataclass(frozen=True)
class Phone:
    """A WeChat user with a live session, and what the mini-program does on the phone."""

    server: RunningServer
    user: str
    session_id: str

    def got(self, **changes: Any) -> dict[str, str]:
        """What WeChat gives to the mini-program now."""
        return self.server.sandbox.user_data(DEMO_APP_ID, self.user, **changes)

    def decrypt(self, got: dict[str, str]) -> DecryptUserDataResponse:
        request = DecryptUserDataRequest(
            session_id=self.session_id, encrypted_data=got["encryptedData"], iv=got["iv"]
        )
        return self.server.wechat.DecryptUserData(request, timeout=10)

    def verify(self, raw_data: str, signature: str) -> None:
        request = VerifyUserDataRequest(
            session_id=self.session_id, raw_data=raw_data, signature=signature
        )
        self.server.wechat.VerifyUserData(request, timeout=10)

    def check(self, timeout: float = 10) -> None:
        request = CheckSessionKeyRequest(session_id=self.session_id)
        self.server.wechat.CheckSessionKey(request, timeout=timeout)

    def reset(self, timeout: float = 10) -> None:
        request = ResetSessionKeyRequest(session_id=self.session_id)
        self.server.wechat.ResetSessionKey(request, timeout=timeout)

    def phone_number(
        self, code: str, timeout: float = 10
    ) -> wechat_service_pb2.GetPhoneNumberResponse:
        request = GetPhoneNumberRequest(session_id=self.session_id, code=code)
        return self.server.wechat.GetPhoneNumber(request, timeout=timeout)

    def log_in(self) -> None:
        """Once more; the session of before goes on."""
        self.server.login(code=self.server.code(self.user))

    def log_in_elsewhere(self) -> None:
        """Somebody else exchanges a code: WeChat has another session_key, and we do not."""
        query = {
            "appid": DEMO_APP_ID,
            "secret": DEMO_APP_SECRET,
            "js_code": self.server.code(self.user),
            "grant_type": "authorization_code",
        }
        answer = requests.get(
            f"{self.server.sandbox.base_url}/sns/jscode2session", params=query, timeout=10
        )
        assert "session_key" in answer.json()

    def calls(self, path: str) -> int:
        return len(self.server.sandbox.calls(path=path, user=self.user))


def asking(phone: Phone, method: str, timeout: float = 10) -> Callable[[], object]:
    code = phone.server.phone_code(phone.user, "13912345678") if method == "phone" else ""
    return {
        "phone": lambda: phone.phone_number(code, timeout),
        "check": lambda: phone.check(timeout),
        "reset": lambda: phone.reset(timeout),
    }[method]


PATHS = {"phone": PHONE, "check": CHECK, "reset": RESET}
