"""The snippets of docs/python-client.md but its first two, against the real server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.contract.secured_clients import Where, caller, caller_token, secured_server
from tests.running_server import RunningServer
from tests.sandbox_server import RunningSandbox
from wxauth_client import AuthClient, credentials, errors
from wxauth_client.retrying import LOGIN
from wxauth_server.callers.caller import Role
from wxauth_server.config import DEMO_APP_ID

PAGE = Path(__file__).parents[2] / "docs" / "python-client.md"
PASSWORD = "correct horse battery"

Snippet = Callable[[str], dict[str, Any]]


def source_of(name: str) -> str:
    [found] = re.findall(
        rf"^<!-- test: {name} -->\n```python\n(.*?)^```$",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return str(found)


@pytest.fixture
def snippet(server: RunningServer) -> Iterator[Snippet]:
    """Runs the snippet of a name; gives what it has defined."""
    made: list[dict[str, Any]] = []

    def run(name: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "snippet"}
        exec(source_of(name).replace("127.0.0.1:50051", server.address), names)
        made.append(names)
        return names

    yield run
    for names in made:
        assert isinstance(names["auth"], AuthClient)
        names["auth"].close()


def test_a_login_that_ends_well(server: RunningServer, snippet: Snippet) -> None:
    log_in = snippet("login")["log_in"]
    server.add_account("zhangsan", PASSWORD)
    code = server.code("ann")
    assert log_in(code).startswith("ask for username")
    assert log_in(code).startswith("once more")
    assert log_in(server.code("ann"), "zhangsan", "wrong").startswith("ask for username")
    session_id = CANARY.keep(log_in(server.code("ann"), "zhangsan", PASSWORD))
    assert session_id.startswith("wxs_")
    assert log_in(server.code("bob"), "zhangsan", PASSWORD).startswith("ask whether to move")
    moved = CANARY.keep(log_in(server.code("bob"), "zhangsan", PASSWORD, rebind=True))
    assert moved.startswith("wxs_")


def test_many_sessions(server: RunningServer, snippet: Snippet) -> None:
    names = snippet("many-sessions")
    ann, bob = server.bound("zhangsan"), server.bound("lisi")
    live, other = (server.login(code=server.code(user)).session_id for user in (ann, bob))
    names["auth"].logout(other)
    users, gone = names["still_there"]({"a": live, "b": other, "c": "nonsense"})
    assert users == {"a": "id-zhangsan"}
    assert gone == {"b": "SESSION_REVOKED", "c": "SESSION_INVALID"}


def test_own_sessions(server: RunningServer, snippet: Snippet) -> None:
    names = snippet("own-sessions")
    server.add_account("zhangsan", PASSWORD)
    first = server.login(code=server.code("ann"), username="zhangsan", password=PASSWORD)
    assert names["other_devices"](first.session_id) == {}
    second = server.login(code=server.code("ann"))
    [(handle, text)] = names["other_devices"](first.session_id).items()
    assert text.startswith("unknown device, last used ")
    names["auth"].revoke_session(first.session_id, handle)
    assert names["other_devices"](first.session_id) == {}
    assert names["leave"](second.session_id, server.code("ann")) == "log in first"
    assert names["leave"](first.session_id, server.code("ann")) == "gone, 1 bindings ended"
    assert names["leave"](first.session_id, server.code("ann")) == "gone before"


def test_user_data(server: RunningServer, snippet: Snippet) -> None:
    names = snippet("user-data")
    server.add_account("zhangsan", PASSWORD)
    session_id = server.login(
        code=server.code("ann"), username="zhangsan", password=PASSWORD
    ).session_id
    handed_out = server.sandbox.user_data(DEMO_APP_ID, "ann")
    assert names["nickname"](session_id, handed_out) == "ann"
    assert names["nickname"](session_id, handed_out | {"signature": "0" * 40}) == "not of WeChat"
    old = server.sandbox.user_data(DEMO_APP_ID, "ann", watermark={"timestamp": 1})
    assert names["nickname"](session_id, old) == "too old: fetch it anew"
    phone_code = CANARY.keep(server.sandbox.phone_code(DEMO_APP_ID, "ann", phone="13800138000"))
    assert names["phone"](session_id, phone_code) == "+8613800138000"


def test_off_this_machine(
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority, token = Authority(tmp_path), caller_token()
    served = authority.issue("server", "127.0.0.1")
    token_file = tmp_path / "token"
    token_file.touch(0o600)
    token_file.write_text(token)
    monkeypatch.setenv("WXAUTH_CA_FILE", str(authority.ca))
    monkeypatch.setenv("WXAUTH_TOKEN_FILE", str(token_file))
    orders = caller("orders", Role.SERVICE, token)
    with secured_server(Where(tmp_path, sandbox, server_loop), served, orders) as address:
        names: dict[str, Any] = {}
        exec(source_of("off-this-machine").replace("dns:///wxauth.internal:50051", address), names)
        with names["auth"] as auth:
            assert auth.ready(5)


def test_every_variable_has_its_row() -> None:
    told = set(re.findall(r"`WXAUTH_([A-Z_]+)`", PAGE.read_text("utf-8")))
    assert told == {name.upper() for name in credentials.names()}


def test_every_error_has_its_row() -> None:
    """What a login can raise, and what the table says is retried."""
    page = PAGE.read_text("utf-8")
    table = page[page.index("| raised |") : page.index("**A new code is always right.**")]
    told = set(re.findall(r"`([A-Z][A-Za-z]+)`", table))
    of_sessions = {"SessionInvalid", "SessionExpired", "SessionRevoked", "ProofInvalid"}
    of_user_data = {"SessionKeyInvalid", "UserDataInvalid"}
    raised = {kind.__name__ for kind in errors.OF_THE_CONTRACT.values()}
    raised -= of_sessions | of_user_data | {"NotFound", "AccountExists"}
    own = {"ServerUnreachable", "DeadlineExceeded", "ProtocolError", "UnknownReason"}
    assert told == raised | own

    [retried] = re.findall(r"^- after (.*?);", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", retried)) == {kind.__name__ for kind in LOGIN.after}
