"""Certificates and tokens of a client are exchanged while it calls, and no call fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.contract.client_twins import KINDS, Ask, one_client
from tests.contract.exchanging_clients import TAKEN_OVER, listening
from tests.contract.secured_clients import Where, caller, caller_token, secured_server, shown
from tests.running_server import FakeClock
from tests.sandbox_server import RunningSandbox
from wxauth_client import CallerUnauthenticated, SessionInvalid, WxauthError, file_watch
from wxauth_server.callers.caller import Caller, CallerToken, Role
from wxauth_server.callers.tokens import digest_of

EXCHANGES = 20
CALLING = 3


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def validate(ask: Ask) -> None:
    with pytest.raises(SessionInvalid):
        ask("validate", "wxs_nobody", timeout_s=5)


@contextmanager
def under_calls(ask: Ask) -> Iterator[list[WxauthError]]:
    """Calls by CALLING threads until the block ends; gives those that failed."""
    failed: list[WxauthError] = []
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                ask("validate", "wxs_nobody", timeout_s=5)
            except SessionInvalid:
                continue
            except WxauthError as error:
                failed.append(error)

    with ThreadPoolExecutor(CALLING) as threads:
        calls = [threads.submit(call) for _ in range(CALLING)]
        try:
            yield failed
        finally:
            over.set()
        for each in calls:
            each.result()


def test_certificates_exchanged_under_calls(
    kind: str,
    tmp_path: Path,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0.01)
    authority = Authority(tmp_path)
    served = authority.issue("server", "127.0.0.1")
    names = [f"orders-{number}.internal" for number in range(2)]
    callers = [
        caller(f"orders-{n}", Role.SERVICE, certificate=name) for n, name in enumerate(names)
    ]
    own = authority.issue(names[0], file="own")
    where = Where(tmp_path, sandbox, server_loop)
    with (
        listening() as said,
        secured_server(where, served, *callers, client_ca=authority.ca) as address,
        one_client(kind, address, server_loop, credentials=shown(authority, own)) as ask,
        under_calls(ask) as failed,
    ):
        for number in range(1, EXCHANGES + 1):
            authority.issue(names[number % 2], file="own")
            said.wait_for(TAKEN_OVER, number)
    assert failed == []


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
