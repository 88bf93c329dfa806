"""A store that cannot write takes logins down with it, and nothing else (rows 4 and 6).

Promised: while another process holds the write lock, or the disk is full,
every validation is answered, and a login ends with STORE_UNAVAILABLE and
RetryInfo, within 2.5 s; when the cause has gone the next login succeeds, and
nothing that was acknowledged is lost. Proved with a lock held by this process,
and with a limit on the size of the server's files. The control is in each
test: the same logins succeed before and after.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import Answer, Validations, log_in, validate_while
from tests.fault.seeded_store import PASSWORD, rows, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import Phones, sandbox_process, server_process
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.store.sqlite import DATABASE_NAME

pytestmark = pytest.mark.alone

VALIDATIONS_A_SECOND = 100
#: The lock's budget of 2 s, and half a second for the rest (row 4).
MOST_LOGIN_S = 2.5
BCRYPT_COST = 4


@pytest.mark.parametrize("parallel", [1, 8])
def test_writer_lock_held_by_another_process(
    parallel: int, tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    directory = tmp_path / "data"
    seed_accounts(directory, ["zhangsan"], bcrypt_cost=BCRYPT_COST)

    async def locked_out(
        address: str, codes: list[str], intruder: sqlite3.Connection
    ) -> tuple[list[Answer], Validations]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = AuthServiceStub(channel)
            before = await log_in(stub, codes.pop(), "zhangsan", PASSWORD)
            assert before.login is not None
            answers: list[Answer] = []

            async def logins() -> None:
                answers.extend(
                    await asyncio.gather(*(log_in(stub, codes.pop()) for _ in range(parallel)))
                )

            intruder.execute("BEGIN IMMEDIATE")
            validations = await validate_while(
                stub, [before.login.session_id], logins(), rate_hz=VALIDATIONS_A_SECOND
            )
            intruder.execute("ROLLBACK")
            after = await log_in(stub, codes.pop())
            assert after.ok
            return answers, validations

    with sandbox_process() as sandbox:
        with closing(Phones(sandbox)) as phones:
            codes = [phones.code("zhangsan") for _ in range(parallel + 2)]
        options = ServerOptions(str(directory), f"http://{sandbox.address}", BCRYPT_COST)
        with (
            server_process(options) as server,
            closing(
                sqlite3.connect(
                    directory / DATABASE_NAME, isolation_level=None, check_same_thread=False
                )
            ) as intruder,
        ):
            answers, validations = asyncio.run_coroutine_threadsafe(
                locked_out(server.address, codes, intruder), server_loop
            ).result()
    longest_s = max(answer.seconds for answer in answers)
    reasons = Counter((answer.code.name, answer.reason) for answer in answers)
    print(f"{validations}; logins {dict(reasons)}, longest {longest_s:.2f} s")
    assert not validations.failed
    assert len(validations.seconds) > VALIDATIONS_A_SECOND
    assert reasons == {("UNAVAILABLE", "STORE_UNAVAILABLE"): parallel}
    assert all(answer.retry_after_s for answer in answers)
    assert longest_s <= MOST_LOGIN_S


def test_disk_full(tmp_path: Path, server_loop: asyncio.AbstractEventLoop) -> None:
    """RLIMIT_FSIZE stands for the disk: SQLite's writes fail in the same places."""
    directory = tmp_path / "data"
    users = 10
    seed_accounts(directory, [f"user{n}" for n in range(users)], bcrypt_cost=BCRYPT_COST)

    def limit_files(pid: int, soft: int) -> None:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    async def fill_up(
        address: str, pid: int, codes: list[list[str]]
    ) -> tuple[list[str], list[Answer], Validations]:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = AuthServiceStub(channel)
            acked: list[str] = []
            for number in range(users):
                answer = await log_in(stub, codes[number].pop(), f"user{number}", PASSWORD)
                assert answer.login is not None
                acked.append(answer.login.session_id)
            wal = directory / f"{DATABASE_NAME}-wal"
            limit_files(pid, wal.stat().st_size)
            answers: list[Answer] = []

            async def logins() -> None:
                for number in range(users):
                    answers.append(await log_in(stub, codes[number].pop()))
                    await asyncio.sleep(0.05)

            validations = await validate_while(stub, acked, logins(), rate_hz=VALIDATIONS_A_SECOND)
            limit_files(pid, resource.RLIM_INFINITY)
            after = await log_in(stub, codes[0].pop())
            assert after.ok
            for session_id in acked:
                check = await validate_while(
                    stub, [session_id], asyncio.sleep(0.02), rate_hz=VALIDATIONS_A_SECOND
                )
                assert not check.failed
            return acked, answers, validations

    with sandbox_process() as sandbox:
        with closing(Phones(sandbox)) as phones:
            codes = [[phones.code(f"user{n}") for _ in range(3)] for n in range(users)]
        options = ServerOptions(str(directory), f"http://{sandbox.address}", BCRYPT_COST)
        with server_process(options) as server:
            acked, answers, validations = asyncio.run_coroutine_threadsafe(
                fill_up(server.address, server.pid, codes), server_loop
            ).result()
    reasons = Counter((answer.code.name, answer.reason) for answer in answers)
    print(f"{validations}; logins {dict(reasons)}")
    assert not validations.failed
    assert reasons == {("UNAVAILABLE", "STORE_UNAVAILABLE"): users}
    assert all(answer.retry_after_s for answer in answers)
    assert rows(directory, "PRAGMA integrity_check") == [("ok",)]
    # The ten before, the one after, and none of those that were refused.
    assert rows(directory, "SELECT COUNT(*) FROM sessions") == [(len(acked) + 1,)]
