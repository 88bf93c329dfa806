"""Whatever users call themselves, one event is one line: of the log, and of the audit log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.canary import CANARY
from tests.e2e.audit_log import Log, audit_log
from tests.running_server import TEST_COST, refused
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import running
from wxauth.v1.auth_service_pb2 import ClientInfo, LoginRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.interface import Transaction

PASSWORD = CANARY.keep("correct horse battery")
#: An id that a company's old system may have: a second line, a forged one, colours.
NASTY_ID = 'a\n{"event": "forged"}\r\x1b[31m"\u2028\x85'
NASTY_NAMES = (
    "a\nb",
    'zhangsan\n{"time": "2026", "level": "info", "event": "forged"}',
    "\x1b[2J\x1b[31mzhangsan",
    "\x9b31m\x07",
    'say "hello" \\',
    "line\u2028paragraph\u2029next\x85",
    "'; DROP TABLE audit_events; --",
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """An account with NASTY_ID: `lisi`, whose stored hash is broken, which is logged."""
    with audit_log(tmp_path) as opened:
        hasher = PasswordHasher(opened.keyring, cost=TEST_COST)

        def add(tx: Transaction) -> None:
            for account_id, name, stored in (
                (NASTY_ID, "lisi", "bcrypt$$broken"),
                ("2", "wangwu", hasher.hash(PASSWORD)),
            ):
                insert_account(
                    tx,
                    source="local",
                    account_id=account_id,
                    username=name,
                    username_key=name,
                    display_name=None,
                    phone=None,
                    password=stored,
                    now_ms=1,
                )

        opened.store.write(add)
        yield opened


def test_names_make_no_lines(log: Log, sandbox: RunningSandbox) -> None:
    """Row 48. And neither log says an openid or a SessionId."""
    variables = {
        "WXAUTH_GRPC__LISTEN": "127.0.0.1:0",
        "WXAUTH_WECHAT__BASE_URL": sandbox.base_url,
        "WXAUTH_PASSWORDS__BCRYPT_COST": str(TEST_COST),
        "WXAUTH_LOG__FORMAT": "json",
    }
    names = (*NASTY_NAMES, "lisi")

    def asked(user: str, name: str) -> LoginRequest:
        return LoginRequest(
            code=CANARY.keep(sandbox.mint(DEMO_APP_ID, user)),
            username=name,
            password=PASSWORD,
            client=ClientInfo(device=name, user_agent=name),
        )

    with running("serve", cwd=log.cwd, variables=variables) as command:
        ready = re.search(r'"address": "([^"]+)"', command.wait_for('"event": "ready"'))
        assert ready
        with grpc.insecure_channel(ready[1]) as channel:
            stub = AuthServiceStub(channel)
            for number, name in enumerate(names):
                refusal = refused(stub.Login, asked(f"injection{number}", name), timeout=10)
                assert refusal.reason == "CREDENTIALS_INVALID"
            answer = stub.Login(asked("injection", "wangwu"), timeout=10)
            session_id = CANARY.keep(answer.session_id)
        assert command.stop() == 0

    logged = [json.loads(line) for line in command.err]
    assert all(line.isprintable() for line in command.err)
    assert [e["account"] for e in logged if "malformed" in e["event"]] == [["local", NASTY_ID]]
    assert not [event for event in logged if event["event"] == "forged"]

    exported = log.export()
    assert [event["event"] for event in exported] == [
        *["LOGIN_REFUSED"] * len(names),
        "BOUND",
        "LOGIN",
    ]
    assert exported[len(NASTY_NAMES)]["account_id"] == NASTY_ID
    rows = log.store.read(lambda tx: tx.execute("SELECT DISTINCT openid FROM audit_events"))
    assert len(rows) == len(names) + 1
    said = "\n".join([*command.err, json.dumps(exported)])
    assert not [secret for secret in (session_id, *(row[0] for row in rows)) if secret in said]
