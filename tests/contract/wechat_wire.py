"""How the contract tests of the sandbox talk to it: by hand, to see every byte."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.sandbox_server import RunningSandbox
from wechat_sandbox import SandboxApp

SHOP = SandboxApp("wx1111111111111111", "shop-secret-0123456789abcdef")
BANK = SandboxApp("wx2222222222222222", "bank-secret-0123456789abcdef", platform="group")
FUND = SandboxApp("wx3333333333333333", "fund-secret-0123456789abcdef", platform="group")

CODE_TO_SESSION = "/sns/jscode2session"
STABLE_TOKEN = "/cgi-bin/stable_token"
TOKEN = "/cgi-bin/token"
CHECK = "/wxa/checksession"
RESET = "/wxa/resetusersessionkey"
PHONE = "/wxa/business/getuserphonenumber"


class HandClock:
    """Unix seconds that move when told."""

    def __init__(self) -> None:
        self.now = 1_724_281_105.75

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Reply:
    status: int
    content_type: str | None
    body: bytes

    def json(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.body)
        return fields

    @property
    def errcode(self) -> int:
        return int(self.json().get("errcode", 0))


def connect(sandbox: RunningSandbox) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(sandbox.base_url).netloc, timeout=10)


def ask(
    sandbox: RunningSandbox,
    path: str,
    query: dict[str, str | None] | None = None,
    body: object = None,
) -> Reply:
    """GET, or POST with a body, which is sent as JSON unless it is bytes. None leaves out."""
    sent = {name: value for name, value in (query or {}).items() if value is not None}
    payload = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection = connect(sandbox)
    try:
        connection.request(
            "GET" if body is None else "POST", f"{path}?{urlencode(sent)}", body=payload
        )
        response = connection.getresponse()
        return Reply(response.status, response.getheader("content-type"), response.read())
    finally:
        connection.close()


def exchange(sandbox: RunningSandbox, app: SandboxApp, code: str) -> Reply:
    """code2Session, asked properly."""
    return ask(
        sandbox,
        CODE_TO_SESSION,
        {
            "appid": app.app_id,
            "secret": app.secret,
            "js_code": code,
            "grant_type": "authorization_code",
        },
    )


def log_in(sandbox: RunningSandbox, app: SandboxApp, user: str) -> dict[str, str]:
    """openid, session_key and perhaps unionid of a user who logs in."""
    answer = exchange(sandbox, app, sandbox.mint(app.app_id, user)).json()
    assert "errcode" not in answer, answer
    return answer


def stable_token(
    sandbox: RunningSandbox, app: SandboxApp, **changes: object
) -> dict[str, str | int]:
    asked = {"grant_type": "client_credential", "appid": app.app_id, "secret": app.secret}
    return ask(sandbox, STABLE_TOKEN, body=asked | changes).json()


def token_of(sandbox: RunningSandbox, app: SandboxApp) -> str:
    return str(stable_token(sandbox, app)["access_token"])
