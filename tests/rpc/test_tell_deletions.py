"""The company hears of who has left its accounts, and may take them back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rpc.company import NAME, Company, running_company
from tests.rpc.conftest import Serve
from tests.rpc.leaving import PASSWORD, delete, logged_in
from tests.running_server import FakeClock, RunningServer, refused
from wxauth_server.auth import tell_deletions

TOLD = "SELECT deletion_told_at FROM accounts WHERE deleted_at NOTNULL ORDER BY id"


@pytest.fixture
def company() -> Iterator[Company]:
    with running_company() as company:
        for number in (1, 2):
            company.employ(f"user{number}", PASSWORD, f"u-{number}")
        yield company


@pytest.fixture
def server(serve: Serve, company: Company, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    """It tells when the test says so, not when somebody has left."""
    monkeypatch.setattr(tell_deletions.DeletionTeller, "wake", lambda self: None)
    return serve(account_source=NAME, tables={"account_sources": [company.source]})


def leave(server: RunningServer, number: int) -> str:
    """The user of this number logs in and leaves; the WeChat user."""
    user = server.new_user()
    session_id = logged_in(server, user, username=f"user{number}", password=PASSWORD)
    delete(server, session_id, password=PASSWORD)
    return user


def tell(server: RunningServer) -> None:
    """One round."""
    asyncio.run_coroutine_threadsafe(server.server.teller.tell(), server.loop).result(30)


def told(company: Company) -> list[Any]:
    return [body["id"] for path, body in company.asked if path == "/deleted"]


def test_the_company_hears_of_it(server: RunningServer, company: Company, clock: FakeClock) -> None:
    """Once."""
    leave(server, 1)
    assert server.rows(TOLD) == [(None,)]
    tell(server)
    tell(server)
    assert told(company) == ["u-1"]
    assert server.rows(TOLD) == [(clock.ms,)]


def test_it_hears_at_once(serve: Serve, company: Company) -> None:
    """Within the time of some calls, not of the next round in a minute."""
    server = serve(account_source=NAME, tables={"account_sources": [company.source]})
    leave(server, 1)
    user = server.new_user()
    for _ in range(200):  # each takes some milliseconds
        if server.rows(TOLD) != [(None,)]:
            break
        refused(lambda: server.login(code=server.code(user)))
    assert told(company) == ["u-1"]


def test_it_is_told_again_until_it_has_heard(
    server: RunningServer, company: Company, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After pauses that grow to an hour; the log names the source and not the user."""
    leave(server, 1)
    company.broken = True
    pauses = []
    for _ in range(8):
        caplog.clear()
        tell(server)
        asked = len(told(company))
        tell(server)
        assert len(told(company)) == asked, "it pauses"
        [warning] = [r for r in caplog.records if r.name == "wxauth.server"]
        assert warning.levelno == logging.WARNING
        assert "u-1" not in str(vars(warning))
        pauses.append(vars(warning)["next_try_s"])
        clock.ms += pauses[-1] * 1000
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert server.rows(TOLD) == [(None,)]


def test_one_that_cannot_be_told_holds_up_nobody(
    server: RunningServer, company: Company, clock: FakeClock
) -> None:
    leave(server, 1)
    clock.ms += 1
    company.broken = True
    tell(server)
    leave_later = clock.ms
    company.broken = False
    leave(server, 2)
    tell(server)
    assert server.rows(TOLD) == [(None,), (leave_later,)]


def test_who_comes_back_begins_anew(
    server: RunningServer, company: Company, clock: FakeClock
) -> None:
    """With the company's password; there is nothing to tell any more."""
    user = leave(server, 1)
    assert refused(lambda: server.login(code=server.code(user))).reason == "BINDING_REQUIRED"
    assert server.rows("SELECT username, disabled_at FROM accounts WHERE deleted_at NOTNULL") == [
        (None, None)
    ]
    clock.ms += 1
    session_id = logged_in(server, user, username="user1", password=PASSWORD)
    assert server.validate(session_id).account.username == "user1"
    tell(server)
    assert told(company) == []
    # And may leave once more.
    delete(server, session_id, code=server.code(user))
    tell(server)
    assert told(company) == ["u-1"]


def test_our_own_accounts_need_no_telling(serve: Serve, clock: FakeClock) -> None:
    server = serve()
    user = server.bound()
    delete(server, logged_in(server, user), password=PASSWORD)
    assert server.rows(TOLD) == [(clock.ms,)]
