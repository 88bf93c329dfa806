"""kill -9 under load loses nothing that was acknowledged (reliability.md row 1).

Promised: a login, and the binding it made, of which the client had the answer
is there after any crash of the process, and no transaction is there by half.
Proved by killing a server of its own at random moments, starting it again on
the same store and comparing every answer with it. That a crash of the machine
loses nothing either is the business of synchronous=FULL; killing a process
cannot show it.
"""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import read_refusal
from tests.fault.seeded_store import PASSWORD, rows, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ChildProcess, Phones, sandbox_process, server_process
from tests.fault.unprotected import LATE_COMMIT
from wxauth.v1.auth_service_pb2 import LoginRequest, ValidateSessionRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.store.sqlite import DATABASE_NAME

CLIENTS = 8
#: Logins of a user: one that binds, the rest silent. Below the limit of 10 sessions.
LOGINS_OF_A_USER = 4
EARLIEST_KILL_S, LATEST_KILL_S = 0.020, 0.250
#: More than the clients can use up until the kill.
ACCOUNTS_OF_A_KILL = 400
BCRYPT_COST = 4
MOST_RESTART_S = 5.0


@dataclass(frozen=True)
class Ack:
    """A login whose answer the client had."""

    session_id: str = field(repr=False)
    username: str
    bound_now: bool


@dataclass
class Findings:
    """What the comparison of all answers with the store found."""

    kills: int = 0
    acks: int = 0
    bindings_acked: int = 0
    committed_unacked: int = 0
    lost: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)
    restarts_s: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        restarts = sorted(self.restarts_s) or [0.0]
        return (
            f"{self.kills} kills: {self.acks} acks ({self.bindings_acked} bindings), "
            f"{len(self.lost)} lost, {len(self.half)} half, {len(self.corrupt)} corrupt, "
            f"{self.committed_unacked} committed but unacked; serving again after "
            f"{restarts[len(restarts) // 2]:.2f} s (median), {restarts[-1]:.2f} s (max)"
        )


class Load:
    """Clients that log in, first with credentials and then silently, until the server dies."""

    def __init__(self, server: ChildProcess, sandbox: ChildProcess, usernames: Iterator[str]):
        self.acks: list[Ack] = []
        self.refused: list[str] = []
        self._server = server
        self._sandbox = sandbox
        self._usernames = usernames
        self._lock = threading.Lock()
        self._under_way = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def start(self) -> None:
        """Returns when every client has had its first answer."""
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._under_way.acquire(timeout=20)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _run(self) -> None:
        phones = Phones(self._sandbox)
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self._server.address, options=options) as channel:
            stub = AuthServiceStub(channel)
            try:
                first = True
                while True:
                    with self._lock:
                        username = next(self._usernames)
                    for turn in range(LOGINS_OF_A_USER):
                        request = LoginRequest(code=phones.code(username))
                        if turn == 0:
                            request.username, request.password = username, PASSWORD
                        answer = stub.Login(request, timeout=10)
                        self.acks.append(Ack(answer.session_id, username, answer.bound_now))
                        if first:
                            first = False
                            self._under_way.release()
            except grpc.RpcError as error:
                refusal = read_refusal(error, 0.0)
                if refusal.code is not grpc.StatusCode.UNAVAILABLE:
                    self.refused.append(refusal.reason)
            finally:
                phones.close()
                self._under_way.release()


def lost_acks(directory: Path, server: ChildProcess, acks: list[Ack]) -> list[str]:
    """Acknowledged sessions that do not validate and bindings that are not there."""
    lost = []
    bound = {account_id for (account_id,) in rows(directory, "SELECT account_id FROM bindings")}
    with grpc.insecure_channel(
        server.address, options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        stub = AuthServiceStub(channel)
        for ack in acks:
            if f"id-{ack.username}" not in bound:
                lost.append(f"binding of {ack.username}")
            try:
                answer = stub.ValidateSession(
                    ValidateSessionRequest(session_id=ack.session_id), timeout=10
                )
            except grpc.RpcError as error:
                lost.append(f"session of {ack.username}: {read_refusal(error, 0.0).reason}")
                continue
            if answer.account.username != ack.username:
                lost.append(f"session of {ack.username} is another user's")
    return lost


#: Each names rows that one transaction writes together and that stand alone here.
HALVES = {
    "LOGIN event without its session": """
        SELECT e.id FROM audit_events e LEFT JOIN sessions s ON s.handle = e.session_handle
        WHERE e.event = 'LOGIN' AND s.digest IS NULL""",
    "session without its LOGIN event": """
        SELECT s.handle FROM sessions s LEFT JOIN audit_events e
          ON e.session_handle = s.handle AND e.event = 'LOGIN' WHERE e.id IS NULL""",
    "BOUND event without its binding": """
        SELECT e.id FROM audit_events e LEFT JOIN bindings b
          ON b.app_id = e.app_id AND b.openid = e.openid AND b.account_id = e.account_id
        WHERE e.event = 'BOUND' AND b.openid IS NULL""",
    "binding without its BOUND event": """
        SELECT b.openid FROM bindings b LEFT JOIN audit_events e
          ON b.app_id = e.app_id AND b.openid = e.openid AND b.account_id = e.account_id
          AND e.event = 'BOUND' WHERE e.id IS NULL""",
    "binding without the session of its login": """
        SELECT b.openid FROM bindings b LEFT JOIN sessions s
          ON s.app_id = b.app_id AND s.openid = b.openid WHERE s.digest IS NULL""",
    "session without its binding": """
        SELECT s.handle FROM sessions s LEFT JOIN bindings b
          ON s.app_id = b.app_id AND s.openid = b.openid WHERE b.openid IS NULL""",
}


def half_transactions(directory: Path) -> list[str]:
    return [what for what, sql in HALVES.items() for _ in rows(directory, sql)]


def run_kills(directory: Path, *, kills: int, seed: int, unprotected: str = "") -> Findings:
    """Kill a server `kills` times under load; what each restart found."""
    random_delay = random.Random(seed)
    found = Findings()
    usernames = [f"user{n}" for n in range(ACCOUNTS_OF_A_KILL * kills)]
    seed_accounts(directory, usernames, bcrypt_cost=BCRYPT_COST)
    fresh = iter(usernames)
    acks: list[Ack] = []
    with sandbox_process() as sandbox:
        options = ServerOptions(
            directory=str(directory),
            wechat_url=f"http://{sandbox.address}",
            bcrypt_cost=BCRYPT_COST,
            unprotected=unprotected,
        )
        for kill in range(kills + 1):
            started = time.monotonic()
            with server_process(options) as server:
                if kill:
                    found.restarts_s.append(time.monotonic() - started)
                    _compare(found, directory, server, acks)
                if kill == kills:
                    return found
                load = Load(server, sandbox, fresh)
                load.start()
                time.sleep(random_delay.uniform(EARLIEST_KILL_S, LATEST_KILL_S))
                server.kill()
                load.join()
                assert not load.refused
                acks = load.acks
                found.kills += 1
    raise AssertionError("not reached")


def _compare(found: Findings, directory: Path, server: ChildProcess, acks: list[Ack]) -> None:
    found.acks += len(acks)
    found.bindings_acked += sum(ack.bound_now for ack in acks)
    found.lost += lost_acks(directory, server, acks)
    found.half += half_transactions(directory)
    [(stored,)] = rows(directory, "SELECT COUNT(*) FROM sessions")
    found.committed_unacked = stored - found.acks + len(found.lost)
    found.corrupt += [line for (line,) in rows(directory, "PRAGMA integrity_check") if line != "ok"]


@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost(tmp_path: Path, long: bool) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    found = run_kills(tmp_path / "data", kills=200 if long else 20, seed=seed)
    print(found)
    assert found.acks >= 10 * found.kills
    assert not found.lost
    assert not found.half
    assert not found.corrupt
    assert max(found.restarts_s) <= MOST_RESTART_S


def test_control_an_answer_before_the_commit_is_caught(tmp_path: Path) -> None:
    """A server that answers before it commits loses what it answered, and the check sees it."""
    found = run_kills(tmp_path / "data", kills=1, seed=1, unprotected=LATE_COMMIT)
    print(found)
    assert found.lost


def test_control_a_missing_row_is_caught(tmp_path: Path) -> None:
    """One acknowledged row taken away is found as lost and as half a transaction."""
    directory = tmp_path / "data"
    usernames = [f"user{n}" for n in range(ACCOUNTS_OF_A_KILL)]
    seed_accounts(directory, usernames, bcrypt_cost=BCRYPT_COST)
    with sandbox_process() as sandbox:
        options = ServerOptions(str(directory), f"http://{sandbox.address}", BCRYPT_COST)
        with server_process(options) as server:
            load = Load(server, sandbox, iter(usernames))
            load.start()
            server.kill()
            load.join()
        # A server that has seen a session would know it without its row.
        options = dataclasses.replace(options, cached_sessions=0)
        with server_process(options) as server:
            assert not lost_acks(directory, server, load.acks)
            assert not half_transactions(directory)
            for table, column, half in (
                ("sessions", "digest", "LOGIN event without its session"),
                ("bindings", "openid", "BOUND event without its binding"),
            ):
                lost = len(lost_acks(directory, server, load.acks))
                _take_a_row_away(directory, table, column)
                assert len(lost_acks(directory, server, load.acks)) > lost
                assert half in half_transactions(directory)


def _take_a_row_away(directory: Path, table: str, column: str) -> None:
    first = f"DELETE FROM {table} WHERE {column} = (SELECT MIN({column}) FROM {table})"
    with closing(sqlite3.connect(directory / DATABASE_NAME)) as connection, connection:
        assert connection.execute(first).rowcount == 1
