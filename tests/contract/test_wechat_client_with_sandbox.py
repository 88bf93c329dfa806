"""The calls that need an access_token, and user data, against the sandbox over HTTP."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator

import pytest

from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.scripted_wechat import HandClock, client_of
from wechat_sandbox import SandboxApp
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    CodeInvalid,
    CodeUsed,
    SessionKeyInvalid,
    UserDataInvalid,
    WeChatMisconfigured,
    WeChatUnavailable,
)
from wxauth_server.wechat.client import WeChatClient, WeChatUser
from wxauth_server.wechat.phone_number import PhoneNumber
from wxauth_server.wechat.user_data import UserData, decrypt, verify

APP, OTHER_APP = "wx1111111111111111", "wx2222222222222222"
SECRET = "SECRET-do-not-print"
PHONE_PATH, TOKEN_PATH = "/wxa/business/getuserphonenumber", "/cgi-bin/stable_token"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    apps = [SandboxApp(app_id, SECRET, platform="p") for app_id in (APP, OTHER_APP)]
    with running_sandbox(apps) as running:
        yield running


@pytest.fixture
def client(sandbox: RunningSandbox) -> Iterator[WeChatClient]:
    # The circuits and the tokens of each test are its own.
    with client_of(sandbox.base_url, monotonic=HandClock()) as made:
        yield made


@pytest.fixture
def alice(sandbox: RunningSandbox, client: WeChatClient) -> WeChatUser:
    return client.code_to_session(APP, SECRET, sandbox.mint(APP, "alice"), Deadline(5))


def phone_number(client: WeChatClient, code: str, app_id: str = APP) -> PhoneNumber:
    return client.get_phone_number(app_id, SECRET, code, Deadline(5))


def check(client: WeChatClient, user: WeChatUser, key: str = "", secret: str = SECRET) -> None:
    client.check_session_key(APP, secret, user.openid, key or user.session_key, Deadline(5))


def opened(handed_out: dict[str, str], user: WeChatUser, app_id: str = APP) -> UserData:
    return decrypt(
        user.session_key,
        handed_out["encryptedData"],
        handed_out["iv"],
        app_id=app_id,
        openid=user.openid,
        now_s=time.time(),
        max_age_s=60,
    )


@pytest.mark.parametrize(
    ("phone", "e164"),
    [
        ({"phone": "13580006666"}, "+8613580006666"),
        ({"phone": "51234567", "countryCode": "852"}, "+85251234567"),
    ],
)
def test_a_phone_code_works_once(
    sandbox: RunningSandbox, client: WeChatClient, phone: dict[str, str], e164: str
) -> None:
    code = sandbox.phone_code(APP, "alice", **phone)
    assert phone_number(client, code).e164 == e164
    with pytest.raises(CodeUsed):
        phone_number(client, code)


def test_codes_that_are_no_phone_codes_of_this_app(
    sandbox: RunningSandbox, client: WeChatClient
) -> None:
    with pytest.raises(CodeInvalid):
        phone_number(client, sandbox.mint(APP, "alice"))
    with pytest.raises(CodeInvalid):
        phone_number(client, sandbox.phone_code(OTHER_APP, "alice"))
    with pytest.raises(CodeInvalid):
        phone_number(client, "0" * 64)
    with pytest.raises(CodeInvalid):
        client.code_to_session(APP, SECRET, sandbox.phone_code(APP, "alice"), Deadline(5))


def test_a_session_key_is_checked_and_reset(
    sandbox: RunningSandbox, client: WeChatClient, alice: WeChatUser
) -> None:
    check(client, alice)
    with pytest.raises(SessionKeyInvalid):
        check(client, alice, key="A" * 22 + "==")
    new_key = client.reset_session_key(APP, SECRET, alice.openid, alice.session_key, Deadline(5))
    assert new_key != alice.session_key
    check(client, alice, key=new_key)
    with pytest.raises(SessionKeyInvalid):
        check(client, alice)
    sandbox.expire_session_key(APP, "alice")
    with pytest.raises(SessionKeyInvalid):
        check(client, alice, key=new_key)


def test_tokens_that_are_revoked_or_expire_early_are_replaced(
    sandbox: RunningSandbox, client: WeChatClient, alice: WeChatUser
) -> None:
    check(client, alice)
    for end in (sandbox.revoke_access_tokens, sandbox.expire_access_tokens):
        asked_before = len(sandbox.calls(path=TOKEN_PATH, appid=APP))
        assert end(APP) >= 1
        check(client, alice)
        check(client, alice)
        assert len(sandbox.calls(path=TOKEN_PATH, appid=APP)) == asked_before + 1


def test_a_token_refused_though_good_is_forced_and_the_phone_code_is_not_burnt(
    sandbox: RunningSandbox, client: WeChatClient, alice: WeChatUser
) -> None:
    check(client, alice)
    code = sandbox.phone_code(APP, "alice")
    asked_before = len(sandbox.calls(path=TOKEN_PATH, appid=APP))
    sandbox.next_calls(PHONE_PATH, errcode=40001)
    phone_number(client, code)
    # Normal mode gives the same token again, so that a second, forced request follows.
    assert len(sandbox.calls(path=TOKEN_PATH, appid=APP)) == asked_before + 2


def test_a_wrong_secret(client: WeChatClient, alice: WeChatUser) -> None:
    check(client, alice)
    with pytest.raises(WeChatMisconfigured):
        check(client, alice, secret="wrong")


def test_a_token_outage_leaves_logins_alone() -> None:
    with (
        running_sandbox([SandboxApp(APP, SECRET)]) as sandbox,
        client_of(sandbox.base_url) as client,
    ):
        sandbox.next_calls(TOKEN_PATH, times=100, errcode=-1)
        user = client.code_to_session(APP, SECRET, sandbox.mint(APP, "alice"), Deadline(5))
        with pytest.raises(WeChatUnavailable):
            check(client, user)
        client.code_to_session(APP, SECRET, sandbox.mint(APP, "alice"), Deadline(5))


def test_user_data_opens_and_is_signed(
    sandbox: RunningSandbox, client: WeChatClient, alice: WeChatUser
) -> None:
    handed_out = sandbox.user_data(APP, "alice")
    fields = json.loads(opened(handed_out, alice).json_text)
    assert fields["watermark"]["appid"] == APP
    verify(alice.session_key, handed_out["rawData"], handed_out["signature"])
    with pytest.raises(UserDataInvalid):
        verify(alice.session_key, handed_out["rawData"] + " ", handed_out["signature"])
    phone = sandbox.user_data(APP, "alice", kind="phone", phone="13580006666")
    assert json.loads(opened(phone, alice).json_text)["purePhoneNumber"] == "13580006666"


def test_user_data_of_another_app_or_an_older_key(
    sandbox: RunningSandbox, client: WeChatClient, alice: WeChatUser
) -> None:
    handed_out = sandbox.user_data(APP, "alice")
    with pytest.raises(UserDataInvalid) as caught:
        opened(handed_out, alice, app_id=OTHER_APP)
    assert caught.value.metadata == {"watermark": "APP"}
    new_key = client.reset_session_key(APP, SECRET, alice.openid, alice.session_key, Deadline(5))
    with pytest.raises(UserDataInvalid) as caught:
        opened(handed_out, WeChatUser(alice.openid, "", new_key))
    assert caught.value.metadata == {}


def test_nothing_secret_is_logged(
    sandbox: RunningSandbox,
    client: WeChatClient,
    alice: WeChatUser,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    code = sandbox.phone_code(APP, "alice", phone="13580006666")
    phone_number(client, code)
    with pytest.raises(CodeUsed):
        phone_number(client, code)
    check(client, alice)
    (app,) = client._tokens._apps.values()
    assert app.token is not None
    for secret in (SECRET, app.token.text, code, alice.session_key, "13580006666"):
        for record in caplog.records:
            # uvicorn is the sandbox's: it logs what it was asked.
            assert record.name.startswith("uvicorn") or secret not in record.getMessage()
