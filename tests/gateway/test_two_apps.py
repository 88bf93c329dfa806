"""Which of two mini-programs a login is for: the real server and two apps of the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.canary import CANARY
from tests.gateway.running import running_gateways
from tests.running_server import running_server
from tests.sandbox_server import RunningSandbox, running_sandbox
from wechat_sandbox import SandboxApp
from wxauth_gateway.settings import GatewaySettings

SHOP, CLUB = "wx00000000000000a1", "wx00000000000000b2"
UNKNOWN = "wx00000000000000c3"
SECRETS = {SHOP: CANARY.keep("a1" * 16), CLUB: CANARY.keep("b2" * 16)}
PASSWORD = "pwd123456"


def referer(app_id: str) -> tuple[str, str]:
    return ("Referer", f"https://servicewechat.com/{app_id}/12/page-frame.html")


@dataclass(frozen=True)
class Company:
    """With a shop and a club: two mini-programs, one server, one gateway."""

    http: httpx.Client
    sandbox: RunningSandbox

    def login(
        self, code_of: str, *headers: tuple[str, str], app_id: str | None = None, user: str = "ann"
    ) -> httpx.Response:
        """Log in with a code of that app."""
        code = CANARY.keep(self.sandbox.mint(code_of, user))
        body = {"code": code, "username": "zhangsan", "password": PASSWORD}
        if app_id is not None:
            body["appId"] = app_id
        answer = self.http.post("/login", json=body, headers=list(headers))
        if answer.status_code == 200:
            CANARY.keep(answer.json()["sessionId"])
        return answer

    def app_of(self, login: httpx.Response) -> str:
        """The app of the session that has begun, as the server says."""
        assert login.status_code == 200, login.text
        headers = {"Authorization": "Bearer " + login.json()["sessionId"]}
        return str(self.http.get("/session", headers=headers).json()["appId"])


@pytest.fixture(scope="module")
def company(
    tmp_path_factory: pytest.TempPathFactory, server_loop: asyncio.AbstractEventLoop
) -> Iterator[Company]:
    apps = [{"app_id": app_id, "app_secret": secret} for app_id, secret in SECRETS.items()]
    data: Path = tmp_path_factory.mktemp("company") / "data"
    with (
        running_sandbox([SandboxApp(*app) for app in SECRETS.items()]) as sandbox,
        running_server(data, sandbox, server_loop, apps=apps) as server,
        running_gateways([GatewaySettings(server=server.address)], server_loop) as [(host, port)],
        httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, verify=False) as http,
    ):
        server.add_account("zhangsan", PASSWORD)
        yield Company(http, sandbox)


@pytest.mark.parametrize("app_id", [SHOP, CLUB])
def test_the_body_names_the_app(company: Company, app_id: str) -> None:
    assert company.app_of(company.login(app_id, app_id=app_id)) == app_id


@pytest.mark.parametrize("app_id", [SHOP, CLUB])
def test_the_referer_names_the_app(company: Company, app_id: str) -> None:
    assert company.app_of(company.login(app_id, referer(app_id))) == app_id


def test_the_body_goes_before_the_referer(company: Company) -> None:
    assert company.app_of(company.login(CLUB, referer(SHOP), app_id=CLUB)) == CLUB


NOT_NAMED: dict[str, list[tuple[str, str]]] = {
    "no Referer": [],
    "the same one twice": [referer(SHOP), referer(SHOP)],
    "two": [referer(SHOP), referer(CLUB)],
    "ours and a foreign one": [referer(SHOP), ("Referer", "https://example.org/")],
    "two, joined by a proxy": [("Referer", f"{referer(SHOP)[1]}, {referer(CLUB)[1]}")],
    "foreign": [("Referer", "https://example.org/")],
    "foreign with its path": [("Referer", f"https://example.org/{SHOP}/12/page-frame.html")],
    "foreign below our name": [("Referer", f"https://servicewechat.com.example.org/{SHOP}/1/")],
    "foreign with our name as a user": [("Referer", f"https://servicewechat.com@x.org/{SHOP}/1/")],
    "not encrypted": [("Referer", f"http://servicewechat.com/{SHOP}/1/page-frame.html")],
    "empty": [("Referer", "")],
}


@pytest.mark.parametrize("headers", NOT_NAMED.values(), ids=NOT_NAMED)
def test_what_names_no_app_selects_none(company: Company, headers: list[tuple[str, str]]) -> None:
    """Of two it is neither, and WeChat is not asked about the code."""
    asked = len(company.sandbox.exchanges())
    refused = company.login(SHOP, *headers)
    error = refused.json()["error"]
    assert (refused.status_code, error["reason"]) == (400, "REQUEST_INVALID")
    assert [violation["field"] for violation in error["violations"]] == ["appId"]
    assert "app_id" not in refused.text  # the name of gRPC
    assert len(company.sandbox.exchanges()) == asked


def test_an_app_that_is_not_served(company: Company) -> None:
    for refused in (company.login(SHOP, app_id=UNKNOWN), company.login(SHOP, referer(UNKNOWN))):
        error = refused.json()["error"]
        assert (refused.status_code, error["violations"][0]["field"]) == (400, "appId")


def test_a_selector_is_no_proof(company: Company) -> None:
    """A code of one app opens nothing in the other, whatever the Referer says."""
    refused = company.login(SHOP, referer(CLUB))
    assert (refused.status_code, refused.json()["error"]["reason"]) == (401, "CODE_INVALID")


def test_a_session_is_of_one_app(company: Company) -> None:
    session_id = company.login(SHOP, app_id=SHOP).json()["sessionId"]
    headers = {"Authorization": f"Bearer {session_id}"}
    assert company.http.get(f"/session?appId={SHOP}", headers=headers).status_code == 200
    refused = company.http.get(f"/session?appId={CLUB}", headers=headers)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (401, "SESSION_INVALID")
