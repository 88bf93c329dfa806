"""A WeChat that hangs takes logins down with it, and nothing else (reliability.md row 11, F8).

Promised: while WeChat does not answer, every validation is answered, and every
login ends within 3 s, UNAVAILABLE with WECHAT_UNAVAILABLE (or OVERLOADED).
Proved with a WeChat that holds each answer back for 30 s. The bulkhead, pools
of their own for WeChat and for the store, is what holds it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import Answer, Validations, log_in, validate_while
from tests.fault.seeded_store import PASSWORD, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import (
    ChildProcess,
    Phones,
    sandbox_process,
    server_process,
    set_slow,
)
from tests.fault.unprotected import ONE_POOL
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

pytestmark = pytest.mark.alone

LOGINS_A_SECOND = 20
VALIDATIONS_A_SECOND = 100
STALL_MS = 30_000
#: What the contract promises the caller of Login.
MOST_LOGIN_S = 3.0


async def _stall(
    address: str, sandbox: ChildProcess, codes: Sequence[str]
) -> tuple[list[Answer], Validations]:
    """One login makes sessions to validate; then WeChat stalls and the other codes log in."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AuthServiceStub(channel)
        first = await log_in(stub, codes[0], "zhangsan", PASSWORD)
        assert first.login is not None
        await asyncio.to_thread(set_slow, sandbox, STALL_MS)
        answers: list[Answer] = []

        async def logins() -> None:
            tasks = []
            for code in codes[1:]:
                tasks.append(asyncio.create_task(log_in(stub, code)))
                await asyncio.sleep(1 / LOGINS_A_SECOND)
            answers.extend(await asyncio.gather(*tasks))

        validations = await validate_while(
            stub, [first.login.session_id], logins(), rate_hz=VALIDATIONS_A_SECOND
        )
        return answers, validations


def _run(
    directory: Path, loop: asyncio.AbstractEventLoop, seconds: int, *, unprotected: str = ""
) -> tuple[list[Answer], Validations]:
    seed_accounts(directory, ["zhangsan"], bcrypt_cost=4)
    with sandbox_process() as sandbox:
        with closing(Phones(sandbox)) as phones:
            codes = [phones.code("zhangsan")]
            codes += [phones.code(f"user{n}") for n in range(seconds * LOGINS_A_SECOND)]
        # Without the cache: what answers from memory waits for nothing.
        options = ServerOptions(
            str(directory),
            f"http://{sandbox.address}",
            4,
            unprotected=unprotected,
            cached_sessions=0,
        )
        with server_process(options) as server:
            return asyncio.run_coroutine_threadsafe(
                _stall(server.address, sandbox, codes), loop
            ).result()


@pytest.mark.timeout(240)
def test_validations_go_on_and_logins_end_in_time(
    tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop
) -> None:
    seconds = 30 if long else 6
    logins, validations = _run(tmp_path / "data", server_loop, seconds)
    reasons = Counter((login.code.name, login.reason) for login in logins)
    longest_s = max(login.seconds for login in logins)
    print(f"{validations}; logins {dict(reasons)}, longest {longest_s:.2f} s")
    assert len(validations.seconds) >= seconds * VALIDATIONS_A_SECOND / 2
    assert not validations.failed
    assert set(reasons) <= {
        ("UNAVAILABLE", "WECHAT_UNAVAILABLE"),
        ("RESOURCE_EXHAUSTED", "OVERLOADED"),
    }
    assert reasons["UNAVAILABLE", "WECHAT_UNAVAILABLE"]
    assert all(login.retry_after_s for login in logins)
    assert longest_s <= MOST_LOGIN_S


def test_control_one_pool_for_everything_stalls_validations(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    """Without the bulkhead the stalled logins hold every thread that validations need."""
    _, validations = _run(tmp_path / "data", server_loop, 2, unprotected=ONE_POOL)
    print(validations)
    assert validations.failed > len(validations.seconds) / 10
