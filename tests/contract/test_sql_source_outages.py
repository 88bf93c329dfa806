"""A database that hangs, dies and comes back: the `sql` account source says so, in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.company_database import BY_NAME, OnMariaDB, OnPostgreSQL, OnServer
from tests.contract.open_sql_source import (
    HASH,
    PASSWORD,
    OpenedSource,
    OpenSource,
    alarm,
    alarms,
    sources,
)
from tests.database_server import DatabaseServer
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.sql_database import Database
from wxauth_server.accounts.sources.sql_users import Failure, Rows
from wxauth_server.accounts.sources.sql_watchdog import GRACE_S
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AccountSourceUnavailable, AuthError
from wxauth_server.keyring import create_keyring, load_keyring
from wxauth_server.outbound.breaker import FAILURES_TO_OPEN, OPEN_S

TIMEOUT_S = 0.6


@pytest.fixture(params=[OnMariaDB, OnPostgreSQL], ids=["MariaDB", "PostgreSQL"])
def company(request: pytest.FixtureRequest) -> OnServer:
    """One with a user `zhangsan`, whose id is 1."""
    server = request.getfixturevalue("mariadb" if request.param is OnMariaDB else "postgres")
    made: OnServer = request.param(server)
    made.create_table()
    made.add(1, "zhangsan", HASH)
    return made


@pytest.fixture
def server(company: OnServer) -> DatabaseServer:
    """The server that this database is on."""
    return company.server


@pytest.fixture
def open_source(company: OnServer, tmp_path: Path) -> Iterator[OpenSource]:
    create_keyring(tmp_path / "keyring.json")
    hasher = PasswordHasher(load_keyring(tmp_path / "keyring.json"), cost=4)
    with sources(company, hasher) as open_source:
        yield open_source


class Ticks:
    """How long the event loop did not come to its turn, at most. Seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def tick(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.monotonic() - began)


async def refusals(source: OpenedSource, number: int) -> tuple[list[AuthError], float, float]:
    """So many logins at once: why they are refused, what the longest took, the loop's longest
    pause."""
    ticks = Ticks()
    ticking = asyncio.create_task(ticks.tick())

    async def one() -> tuple[AuthError, float]:
        began = time.monotonic()
        with pytest.raises(AuthError) as refused:
            await source.source.verify("zhangsan", PASSWORD, Deadline(10))
        return refused.value, time.monotonic() - began

    found = await asyncio.gather(*(one() for _ in range(number)))
    ticking.cancel()
    return [error for error, _ in found], max(took for _, took in found), ticks.longest


def test_a_frozen_server(
    company: OnServer,
    server: DatabaseServer,
    open_source: OpenSource,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It hangs with its connections open: nobody waits longer than agreed, nothing stands still,
    after five failures nobody waits at all, and all is well when it goes on."""
    source = open_source(timeout_s=TIMEOUT_S, connections=FAILURES_TO_OPEN)
    assert source.accepts("zhangsan")
    with server.frozen():
        # Connections that were open before, and new ones.
        errors, longest_s, pause_s = source.run(refusals(source, FAILURES_TO_OPEN))
        assert {type(error) for error in errors} == {AccountSourceUnavailable}
        assert TIMEOUT_S * 0.9 < longest_s < TIMEOUT_S + 0.5
        assert pause_s < TIMEOUT_S / 2

        source.run(until(lambda: len(alarms(caplog)) > FAILURES_TO_OPEN))
        errors, longest_s, _ = source.run(refusals(source, 20))
        assert longest_s < TIMEOUT_S / 2
        assert all(error.retry_after_s and error.retry_after_s <= OPEN_S for error in errors)
    opened = alarm("verify_query", "circuit_open", "not asked for a while")
    assert alarms(caplog).count(opened) == 1
    assert [told["kind"] for told in alarms(caplog)].count("no_answer") == FAILURES_TO_OPEN
    assert open_source().accepts("zhangsan")


async def until(condition: object) -> None:
    """The threads are done with what their callers no longer wait for."""
    assert callable(condition)
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_a_server_that_freezes_once_its_clients_are_connected(
    company: OnServer, server: DatabaseServer
) -> None:
    """The thread itself comes free, by the watchdog or the driver's own limit."""
    database = Database(company.url, timeout_s=TIMEOUT_S, connections=1)
    query, values = BY_NAME, {"username": "zhangsan"}
    try:
        assert isinstance(database.read(query, values, database.new_watchdog()), Rows)
        with server.frozen():
            watchdog = database.new_watchdog()
            timer = threading.Timer(TIMEOUT_S + GRACE_S, watchdog.bite)
            timer.start()
            began = time.monotonic()
            answer = database.read(query, values, watchdog)
            took = time.monotonic() - began
            timer.join()
        assert isinstance(answer, Failure)
        assert not answer.answered
        assert took < TIMEOUT_S + GRACE_S + 0.5
        assert isinstance(database.read(query, values, database.new_watchdog()), Rows)
    finally:
        database.close()


def test_without_a_watchdog_postgresql_hangs(postgres: DatabaseServer) -> None:
    """The negative control: psycopg waits for a frozen server as long as it is frozen."""
    company = OnPostgreSQL(postgres)
    company.create_table()
    database = Database(company.url, timeout_s=TIMEOUT_S, connections=1)
    query, values = BY_NAME, {"username": "zhangsan"}
    answers: list[Rows | Failure] = []

    def ask() -> None:
        answers.append(database.read(query, values, database.new_watchdog()))

    ask()
    thread = threading.Thread(target=ask)
    with postgres.frozen():
        thread.start()
        thread.join(TIMEOUT_S + GRACE_S + 0.5)
        assert thread.is_alive()
    thread.join(10)
    database.close()
    assert [type(answer) for answer in answers] == [Rows, Rows]


def test_a_server_that_is_restarted(
    server: DatabaseServer, open_source: OpenSource, caplog: pytest.LogCaptureFixture
) -> None:
    """Its old connections are dead: nobody hears of that."""
    source = open_source(connections=4)

    async def together() -> set[str]:
        calls = [source.source.verify("zhangsan", PASSWORD, Deadline(10)) for _ in range(4)]
        return {verified.account.id for verified in await asyncio.gather(*calls)}

    assert source.run(together()) == {"1"}
    server.crash()
    server.start()
    assert source.run(together()) == {"1"}
    assert alarms(caplog) == []


def test_a_server_that_is_gone_and_comes_back(
    server: DatabaseServer, open_source: OpenSource, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_source(timeout_s=TIMEOUT_S)
    assert source.get("1") is not None
    server.crash()
    try:
        began = time.monotonic()
        for _ in range(FAILURES_TO_OPEN - 1):
            assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        with pytest.raises(AccountSourceUnavailable):
            source.tell_deleted("1")
        assert time.monotonic() - began < TIMEOUT_S * FAILURES_TO_OPEN
    finally:
        server.start()
    # One failure short of an open circuit: it goes on at once.
    assert source.accepts("zhangsan")
    source.tell_deleted("1")
    assert {told["kind"] for told in alarms(caplog)} == {"no_answer"}
    for secret in ("127.0.0.1", "SELECT", "zhangsan"):
        assert secret not in caplog.text
