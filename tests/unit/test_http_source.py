"""HttpSource and a service on a socket: what is asked, what the answers mean, who is let in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re

import pytest

from tests.scripted_business import (
    ACCOUNT,
    ID,
    KEY,
    NAME,
    NO,
    PASSWORD,
    USERNAME,
    YES,
    alarms,
    business,
    refusal_of,
)
from tests.scripted_wechat import Script, http
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CredentialsInvalid

DISABLED = YES.replace(b'"disabled":false', b'"disabled":true')
NAMELESS = b'{"account":{"id":10001,"disabled":false}}'


class SetClock:
    """A wall clock that stands still."""

    def now_ms(self) -> int:
        return 1_700_000_000_999


def hmac_sha256(key: bytes, message: bytes) -> str:
    """RFC 2104 by hand, to share nothing with the code that signs."""
    block = (
        key.ljust(64, b"\0") if len(key) <= 64 else hashlib.sha256(key).digest().ljust(64, b"\0")
    )
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Libraries say most at DEBUG, and the canary listens."""
    caplog.set_level(logging.DEBUG)


# --- The request -----------------------------------------------------------


def test_each_request_is_the_documented_one_and_signed() -> None:
    script = Script(verify=YES, get=YES, deleted=b"{}")
    with business(script, path="/auth/v2", clock=SetClock()) as asked:
        asked.verify()
        asked.get()
        asked.tell_deleted()
    assert [(one.method, one.path) for one in script.asked] == [
        ("POST", "/auth/v2/verify"),
        ("POST", "/auth/v2/get"),
        ("POST", "/auth/v2/deleted"),
    ]
    assert [json.loads(one.body) for one in script.asked] == [
        {"username": USERNAME, "password": PASSWORD},
        {"id": ID},
        {"id": ID},
    ]
    for one in script.asked:
        assert one.headers["content-type"] == "application/json"
        request_id = one.headers["wxauth-request-id"]
        assert re.fullmatch("[0-9a-f]{32}", request_id)
        signed = f"v1\n1700000000\n{request_id}\nPOST\n{one.path}\n".encode() + one.body
        signature = hmac_sha256(KEY.encode(), signed)
        assert one.headers["wxauth-signature"] == f"t=1700000000,v1={signature}"
    assert len({one.headers["wxauth-request-id"] for one in script.asked}) == 3


def test_passwords_arrive_as_they_were_typed() -> None:
    script = Script(verify=NO)
    passwords = ['"\\', "密码 😀", "e\u0301 \u00e9", "\ud800", " \t\r\n\0"]
    with business(script) as asked:
        for password in passwords:
            with pytest.raises(CredentialsInvalid):
                asked.run(lambda source: source.verify("张三", password, Deadline(5)))  # noqa: B023
    assert [json.loads(one.body)["password"] for one in script.asked] == passwords
    assert {json.loads(one.body)["username"] for one in script.asked} == {"张三"}


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with business(Script(verify=YES)) as proxy, business(Script(verify=YES)) as asked:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.server.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        asked.verify()
    assert (proxy.server.connections, asked.server.connections) == (0, 1)


# --- Who is let in ---------------------------------------------------------


def test_a_yes_and_a_no() -> None:
    with business(Script(verify=[YES, NO, DISABLED], get=[YES, NO, DISABLED])) as asked:
        assert asked.verify() == ACCOUNT
        assert asked.get() == ACCOUNT
        no = refusal_of(asked.verify)
        assert isinstance(no, CredentialsInvalid)
        assert no.account is None
        assert asked.get() is None
        disabled = refusal_of(asked.verify)
        assert isinstance(disabled, CredentialsInvalid)
        assert disabled.account == (NAME, ID)
        found = asked.get()
        assert found is not None
        assert (found.id, found.enabled) == (ID, False)


def test_a_refusal_says_the_same_whatever_the_reason() -> None:
    with business(Script(verify=[NO, DISABLED])) as asked:
        said = {(type(no), str(no), no.retry_after_s) for no in map(refusal_of, [asked.verify] * 2)}
    assert len(said) == 1


def test_what_was_typed_is_the_username_where_none_is_said() -> None:
    with business(Script(verify=NAMELESS, get=NAMELESS)) as asked:
        assert asked.verify() == SourceAccount(ID, username=USERNAME)
        assert asked.get() == SourceAccount(ID)
        odd = asked.run(lambda source: source.verify(" x", PASSWORD, Deadline(5)))
        assert odd.account.username is None


def test_an_attempt_that_is_not_allowed_asks_nobody() -> None:
    script = Script(verify=YES)
    with business(script) as asked:

        async def scenario() -> None:
            source, deadline = asked.source, Deadline(5)
            with pytest.raises(CredentialsInvalid):
                await source.verify(USERNAME, PASSWORD, deadline, allowed=False)
            with pytest.raises(CredentialsInvalid):
                await source.verify_owner(ID, USERNAME, PASSWORD, deadline, allowed=False)
            with pytest.raises(CredentialsInvalid):
                await source.verify_owner(ID, None, PASSWORD, deadline)

        asyncio.run(scenario())
    assert script.asked == []


def test_the_owner_is_who_has_the_id() -> None:
    script = Script(verify=YES)
    with business(script) as asked:

        async def scenario() -> None:
            source, deadline = asked.source, Deadline(5)
            verified = await source.verify_owner(ID, USERNAME, PASSWORD, deadline)
            assert verified.account == ACCOUNT
            with pytest.raises(CredentialsInvalid) as refused:
                await source.verify_owner("10002", USERNAME, PASSWORD, deadline)
            assert refused.value.account == (NAME, "10002")

        asyncio.run(scenario())
    assert [one.call for one in script.asked] == ["verify", "verify"]


# --- Told that a user has left ---------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "404 Not Found", "410 Gone"])
def test_a_service_is_told_or_does_not_want_to_know(
    status: str, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(deleted=http(b"", status))
    with business(script) as asked:
        asked.tell_deleted()
        asked.tell_deleted()
    assert len(script.asked) == 2
    assert alarms(caplog) == []
