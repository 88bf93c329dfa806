"""The routes of WeChatService with the real server and sandbox behind the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.canary import CANARY
from tests.gateway.running import running_gateways
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.config import DEMO_APP_ID

USER = "ann"
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class LoggedIn:
    """Ann, who has a session, and her mini-program."""

    http: httpx.Client
    server: RunningServer
    headers: dict[str, str]

    def user_data(self, body: dict[str, str]) -> httpx.Response:
        answer = self.http.post("/wechat/user-data", headers=self.headers, json=body)
        if answer.status_code != 200:
            CANARY.hear("gateway", answer.text)
        return answer

    def handed_out(self) -> dict[str, str]:
        """What her phone gives to the mini-program now."""
        data = self.server.sandbox.user_data(DEMO_APP_ID, USER)
        CANARY.keep(data["encryptedData"])
        return data


@pytest.fixture
def ann(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[LoggedIn]:
    with (
        running_server(tmp_path / "data", sandbox, server_loop) as server,
        running_gateways([GatewaySettings(server=server.address)], server_loop) as [(host, port)],
        httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, verify=False) as http,
    ):
        server.add_account("zhangsan", PASSWORD)
        login = server.login(code=server.code(USER), username="zhangsan", password=PASSWORD)
        yield LoggedIn(http, server, {"Authorization": f"Bearer {login.session_id}"})


def test_user_data(ann: LoggedIn) -> None:
    handed_out = ann.handed_out()
    answer = ann.user_data(handed_out)
    assert answer.status_code == 200
    assert answer.json()["data"]["nickName"] == USER
    assert answer.json()["data"]["watermark"]["appid"] == DEMO_APP_ID
    assert answer.json()["watermarkTime"].endswith("Z")
    signed = {name: handed_out[name] for name in ("rawData", "signature")}
    assert ann.user_data(signed).json() == {}


def test_a_plus_that_became_a_space(ann: LoggedIn) -> None:
    """The classic, named as the likely cause; and the field as HTTP names it."""
    handed_out = ann.handed_out()
    sealed = handed_out["encryptedData"]
    mangled = sealed[:8] + " " + sealed[9:]
    answer = ann.user_data({"encryptedData": mangled, "iv": handed_out["iv"]})
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "REQUEST_INVALID")
    [violation] = error["violations"]
    assert violation["field"] == "encryptedData"
    assert "+" in violation["problem"]


def test_altered_data(ann: LoggedIn) -> None:
    handed_out = ann.handed_out()
    for changed in (
        {"rawData": handed_out["rawData"] + " ", "signature": handed_out["signature"]},
        {"encryptedData": handed_out["encryptedData"], "iv": "AAAAAAAAAAAAAAAAAAAAAA=="},
    ):
        answer = ann.user_data(changed)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "USER_DATA_INVALID")


def test_a_phone_number(ann: LoggedIn) -> None:
    code = CANARY.keep(ann.server.sandbox.phone_code(DEMO_APP_ID, USER, phone="13912345678"))

    def ask(code: str) -> httpx.Response:
        return ann.http.post("/wechat/phone-number", headers=ann.headers, json={"code": code})

    assert ask(code).json() == {
        "phoneNumber": "+8613912345678",
        "countryCode": "86",
        "nationalNumber": "13912345678",
    }
    again = ask(code)
    assert (again.status_code, again.json()["error"]["reason"]) == (401, "CODE_USED")
    not_of_the_button = ask(ann.server.code(USER))
    assert not_of_the_button.status_code == 400
    assert not_of_the_button.json()["error"]["violations"][0]["field"] == "code"


def test_a_dead_session_opens_nothing(ann: LoggedIn) -> None:
    handed_out = ann.handed_out()
    ann.http.post("/logout", headers=ann.headers).raise_for_status()
    answer = ann.user_data(handed_out)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "SESSION_REVOKED")
