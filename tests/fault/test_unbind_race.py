"""No session survives the answer to its Unbind (reliability.md row 32).

Promised: a validation that starts after the answer to Unbind never succeeds in
the same process, whatever logs in and validates meanwhile; and what Unbind did,
it did to every session of the WeChat user. Proved in rounds: three old
sessions, validations without pause, silent logins of the same user, and Unbind
in the middle of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import ended, log_in, validate
from tests.fault.seeded_store import PASSWORD, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import Phones, sandbox_process, server_process
from tests.fault.unprotected import STALE_READS
from wxauth.v1.auth_service_pb2 import UnbindRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

pytestmark = pytest.mark.alone

OLD_SESSIONS = 3
VALIDATORS = 8
#: With the old sessions below the limit of 10, so that none is ended for being too many.
RACING_LOGINS = 6
#: Validations that each validator goes on with after the answer.
VALIDATIONS_AFTER = 5
BCRYPT_COST = 4


@dataclass
class Round:
    """What happened around one Unbind."""

    ok_before: int = 0
    ok_after: int = 0
    ended_after: int = 0
    logged_in_meanwhile: int = 0


async def _round(stub: AuthServiceStub, username: str, codes: Sequence[str]) -> Round:
    result = Round()
    remaining = list(codes)
    sessions: list[str] = []
    for turn in range(OLD_SESSIONS):
        answer = await log_in(stub, remaining.pop(), *([username, PASSWORD] if not turn else []))
        assert answer.login is not None
        sessions.append(answer.login.session_id)
    unbound_at = float("inf")
    validating = asyncio.Event()

    async def validate_on(turn: int) -> None:
        after = 0
        while after < VALIDATIONS_AFTER:
            session_id = sessions[turn % len(sessions)]
            turn += 1
            started = time.monotonic()
            answer = await validate(stub, session_id)
            assert answer.reason in {"OK", "SESSION_REVOKED"}
            validating.set()
            if started <= unbound_at:
                result.ok_before += answer.ok
            else:
                after += 1
                result.ok_after += answer.ok
                result.ended_after += not answer.ok

    async def log_in_again(code: str) -> None:
        answer = await log_in(stub, code)
        assert answer.reason in {"OK", "BINDING_REQUIRED"}
        if answer.login is not None:
            result.logged_in_meanwhile += 1
            sessions.append(answer.login.session_id)

    async def unbind() -> None:
        nonlocal unbound_at
        request = UnbindRequest(session_id=sessions[0], code=remaining.pop())
        answer = await ended(lambda: stub.Unbind(request, timeout=10))
        unbound_at = time.monotonic()
        assert answer.ok

    async with asyncio.TaskGroup() as tasks:
        for turn in range(VALIDATORS):
            tasks.create_task(validate_on(turn))
        await validating.wait()
        unbind_code = remaining.pop()
        for number in range(RACING_LOGINS):
            if number == RACING_LOGINS // 2:
                remaining.append(unbind_code)
                tasks.create_task(unbind())
                await asyncio.sleep(0)
            tasks.create_task(log_in_again(remaining.pop()))
    for session_id in sessions:  # those of the racing logins too
        answer = await validate(stub, session_id)
        result.ok_after += answer.ok
    return result


def _run(
    directory: Path, loop: asyncio.AbstractEventLoop, rounds: int, *, unprotected: str = ""
) -> list[Round]:
    usernames = [f"user{n}" for n in range(rounds)]
    seed_accounts(directory, usernames, bcrypt_cost=BCRYPT_COST)
    with sandbox_process() as sandbox, closing(Phones(sandbox)) as phones:
        options = ServerOptions(
            str(directory), f"http://{sandbox.address}", BCRYPT_COST, unprotected=unprotected
        )

        async def all_rounds(address: str) -> list[Round]:
            async with grpc.aio.insecure_channel(address) as channel:
                stub = AuthServiceStub(channel)
                found = []
                for username in usernames:
                    codes = [phones.code(username) for _ in range(OLD_SESSIONS + RACING_LOGINS + 1)]
                    found.append(await _round(stub, username, codes))
                return found

        with server_process(options) as server:
            return asyncio.run_coroutine_threadsafe(all_rounds(server.address), loop).result()


def _describe(found: Sequence[Round]) -> str:
    return (
        f"{len(found)} rounds: validations OK before {sum(r.ok_before for r in found)}, "
        f"OK after {sum(r.ok_after for r in found)}, "
        f"refused after {sum(r.ended_after for r in found)}; "
        f"{sum(r.logged_in_meanwhile for r in found)} logins won the race"
    )


@pytest.mark.timeout(600)
def test_no_session_survives_the_answer(
    tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop
) -> None:
    found = _run(tmp_path / "data", server_loop, 500 if long else 20)
    print(_describe(found))
    assert sum(r.ok_before for r in found) > len(found)
    assert sum(r.ended_after for r in found) > len(found)
    assert not sum(r.ok_after for r in found)


def test_control_a_cache_of_sessions_is_caught(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    """A cache that Unbind does not empty answers for sessions that are no more."""
    found = _run(tmp_path / "data", server_loop, 2, unprotected=STALE_READS)
    print(_describe(found))
    assert sum(r.ok_after for r in found)
