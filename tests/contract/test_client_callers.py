"""A client proves who calls, by a token or a certificate, or hears that it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.contract.client_twins import KINDS, asker, one_client
from tests.contract.secured_clients import Where, caller, caller_token, secured_server, shown
from tests.sandbox_server import RunningSandbox
from tests.scripted_server import SESSION_ID, Answer, ScriptedServer, fail, refuse, scripted_server
from wxauth_client import (
    CallerForbidden,
    CallerUnauthenticated,
    Credentials,
    SessionInvalid,
    WxauthError,
    file_watch,
)
from wxauth_server.callers.caller import Role


class Company:
    """Two servers, which ask for a token or a certificate too, and who may call them."""

    def __init__(self, where: Where, stack: ExitStack) -> None:
        self.authority = Authority(where.directory)
        self.token, self.admin_token = caller_token(), caller_token()
        callers = [
            caller("orders", Role.SERVICE, self.token),
            caller("operator", Role.ADMIN, self.admin_token),
            caller("stock", Role.SERVICE, certificate="stock.internal"),
        ]
        served = self.authority.issue("server", "127.0.0.1")
        self.tls = stack.enter_context(secured_server(where, served, *callers))
        self.mutual = stack.enter_context(
            secured_server(where, served, *callers, client_ca=self.authority.ca)
        )


@pytest.fixture(scope="module")
def company(
    tmp_path_factory: pytest.TempPathFactory,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[Company]:
    with ExitStack() as stack:
        yield Company(Where(tmp_path_factory.mktemp("company"), sandbox, server_loop), stack)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write_token(file: Path, token: str) -> Path:
    new = file.with_suffix(".new")
    new.touch(0o600)
    new.write_text(token)
    return new.replace(file)


def test_who_is_let_in(
    company: Company, kind: str, tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    stock = company.authority.issue("stock.internal")
    stranger = company.authority.issue("stranger.internal")
    token_file = write_token(tmp_path / "token", company.token)
    authority = company.authority
    for address, credentials, refusal in [
        (company.tls, shown(authority, token=company.token), SessionInvalid),
        (company.tls, shown(authority, token_file=token_file), SessionInvalid),
        (company.tls, shown(authority, token=caller_token()), CallerUnauthenticated),
        (company.tls, shown(authority, token=company.admin_token), CallerForbidden),
        (company.tls, shown(authority), CallerUnauthenticated),
        (company.mutual, shown(authority, stock), SessionInvalid),
        (company.mutual, shown(authority, stranger), CallerUnauthenticated),
        (company.mutual, shown(authority, stranger, token=company.token), SessionInvalid),
    ]:
        ask = asker(kind, address, server_loop, credentials=credentials)
        with pytest.raises(WxauthError) as raised:
            ask("validate", "wxs_nobody", timeout_s=5)
        assert type(raised.value) is refusal
        assert ask("ready", 5) is (refusal is SessionInvalid)


def test_a_service_may_validate_and_not_log_in(
    company: Company, kind: str, server_loop: asyncio.AbstractEventLoop
) -> None:
    credentials = shown(company.authority, token=company.token)
    ask = asker(kind, company.tls, server_loop, credentials=credentials)
    with pytest.raises(CallerForbidden):
        ask("login", "a code")
    assert ask("ready", 5) is True


def test_ready_says_why_not_once_and_when_it_is_again(
    company: Company,
    kind: str,
    tmp_path: Path,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)
    caplog.set_level(logging.INFO, "wxauth.client")
    token_file = write_token(tmp_path / "token", caller_token())
    credentials = shown(company.authority, token_file=token_file)
    with one_client(kind, company.tls, server_loop, credentials=credentials) as ask:
        assert [ask("ready", 5) for _ in range(3)] == [False] * 3
        write_token(token_file, company.token)
        assert [ask("ready", 5) for _ in range(2)] == [True] * 2
    [refused, ready] = [each for each in caplog.records if each.name == "wxauth.client"]
    assert refused.getMessage().startswith("not ready: CALLER_UNAUTHENTICATED: ")
    assert (refused.levelname, ready.getMessage()) == ("WARNING", "ready")


# --- What a server sees -----------------------------------------------------


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


class Listening:
    """Fails twice before it answers; keeps the tokens that came."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.heard: list[str] = []

    def __call__(self, request: Any, context: Any) -> Any:
        self.heard += [
            value for key, value in context.invocation_metadata() if key == "authorization"
        ]
        answer = self._answer if len(self.heard) > 2 else fail("UNAVAILABLE")
        return answer(request, context)


@pytest.mark.parametrize(("method", "rpc"), [("validate", "ValidateSession"), ("login", "Login")])
def test_the_token_goes_with_every_attempt(
    scripted: ScriptedServer,
    kind: str,
    method: str,
    rpc: str,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    scripted.reset()
    listening = scripted.answers[rpc] = Listening(scripted.answers[rpc])
    token = caller_token()
    ask = asker(kind, scripted.address, server_loop, credentials=Credentials(token=token))
    ask(method, SESSION_ID, timeout_s=8)
    assert listening.heard == [f"Bearer {token}"] * 3


def test_without_credentials_nothing_is_sent(
    scripted: ScriptedServer, kind: str, server_loop: asyncio.AbstractEventLoop
) -> None:
    scripted.reset()
    seen: list[set[str]] = []
    answer = scripted.answers["ValidateSession"]

    def looking(request: Any, context: Any) -> Any:
        seen.append({key for key, _ in context.invocation_metadata()})
        return answer(request, context)

    scripted.answers["ValidateSession"] = looking
    asker(kind, scripted.address, server_loop)("validate", SESSION_ID, timeout_s=5)
    assert seen
    assert seen[0] <= {"user-agent"}


@pytest.mark.parametrize(
    ("reason", "status", "error"),
    [
        ("CALLER_UNAUTHENTICATED", "UNAUTHENTICATED", CallerUnauthenticated),
        ("CALLER_FORBIDDEN", "PERMISSION_DENIED", CallerForbidden),
    ],
)
@pytest.mark.parametrize(("method", "rpc"), [("validate", "ValidateSession"), ("login", "Login")])
def test_who_is_not_let_in_does_not_try_again(
    scripted: ScriptedServer,
    kind: str,
    method: str,
    rpc: str,
    reason: str,
    status: str,
    error: type[WxauthError],
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    scripted.reset()
    scripted.answers[rpc] = refuse(reason, status)
    with pytest.raises(error):
        asker(kind, scripted.address, server_loop)(method, SESSION_ID, timeout_s=8)
    assert len(scripted.requests(rpc)) == 1


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (refuse("REQUEST_INVALID", "INVALID_ARGUMENT"), True),
        (refuse("OVERLOADED", "RESOURCE_EXHAUSTED", retry_after_s=1), True),
        (refuse("CALLER_FORBIDDEN", "PERMISSION_DENIED"), False),
        (fail("UNIMPLEMENTED"), False),
        (fail("UNAVAILABLE"), False),
    ],
    ids=["invalid", "overloaded", "forbidden", "no wxauth", "gone"],
)
def test_what_makes_ready(
    scripted: ScriptedServer,
    kind: str,
    answer: Answer,
    ready: bool,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    scripted.reset()
    scripted.answers["ValidateSession"] = answer
    assert asker(kind, scripted.address, server_loop)("ready", 5) is ready
    assert scripted.requests("ValidateSession")[0].session_id == ""
