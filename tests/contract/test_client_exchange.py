"""A token of a client is exchanged, and no call fails.

For its certificates that is proved by tests/fault/test_client_exchange.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.contract.client_twins import KINDS, Ask, one_client
from tests.contract.secured_clients import Where, caller_token, secured_server, shown
from tests.running_server import FakeClock
from tests.sandbox_server import RunningSandbox
from wxauth_client import CallerUnauthenticated, SessionInvalid, file_watch
from wxauth_server.callers.caller import Caller, CallerToken, Role
from wxauth_server.callers.tokens import digest_of


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def validate(ask: Ask) -> None:
    with pytest.raises(SessionInvalid):
        ask("validate", "wxs_nobody", timeout_s=5)


def test_a_token_exchanged_between_calls(
    kind: str,
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)
    authority, clock = Authority(tmp_path), FakeClock()
    served = authority.issue("server", "127.0.0.1")
    old, new = caller_token(), caller_token()
    tokens = (CallerToken(digest_of(old), 1, clock.ms + 1_000), CallerToken(digest_of(new), 1))
    orders = Caller("orders", frozenset({Role.SERVICE}), 1, tokens)
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(old)
    where = Where(tmp_path, sandbox, server_loop)
    credentials = [shown(authority, token_file=file), shown(authority, token=old)]
    with (
        secured_server(where, served, orders, clock=clock) as address,
        one_client(kind, address, server_loop, credentials=credentials[0]) as following,
        one_client(kind, address, server_loop, credentials=credentials[1]) as staying,
    ):
        validate(following)
        validate(staying)
        file.write_text(new)
        clock.ms += 1_000
        validate(following)
        with pytest.raises(CallerUnauthenticated):
            staying("validate", "wxs_nobody", timeout_s=5)
