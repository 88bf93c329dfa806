"""A storm of wrong passwords does not touch validations (reliability.md row 19, F5).

Promised: while many clients guess passwords at full bcrypt cost, every
validation is answered; no more bcrypt runs at a time than there are cores, and
what exceeds the queue is refused with OVERLOADED and RetryInfo. Proved with
fifty clients. The bounded pool at low priority is what holds it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import Answer, Validations, log_in, validate_while
from tests.fault.seeded_store import PASSWORD, WRONG_PASSWORD, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import Phones, sandbox_process, server_process
from tests.fault.unprotected import ONE_POOL
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

pytestmark = pytest.mark.alone

CLIENTS = 50
VALIDATIONS_A_SECOND = 100
BCRYPT_COST = 12
#: A client that was refused tries again after this; RetryInfo says a second.
PAUSE_S = 0.25


async def storm(
    address: str, codes: list[str], *, clients: int, seconds: float
) -> tuple[list[Answer], Validations]:
    """Clients guess for `seconds`, each guess with a code of its own, while we validate."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AuthServiceStub(channel)
        first = await log_in(stub, codes.pop(), "zhangsan", PASSWORD)
        assert first.login is not None
        answers: list[Answer] = []
        end = time.monotonic() + seconds

        async def guess() -> None:
            while time.monotonic() < end:
                answers.append(await log_in(stub, codes.pop(), "zhangsan", WRONG_PASSWORD))
                await asyncio.sleep(PAUSE_S)

        async def guessing() -> None:
            await asyncio.gather(*(guess() for _ in range(clients)))

        validations = await validate_while(
            stub, [first.login.session_id], guessing(), rate_hz=VALIDATIONS_A_SECOND
        )
        return answers, validations


def _run(
    directory: Path,
    loop: asyncio.AbstractEventLoop,
    seconds: float,
    *,
    clients: int = CLIENTS,
    unprotected: str = "",
) -> tuple[list[Answer], Validations, int]:
    """Answers, validations, and how many bcrypt the server ran at a time."""
    seed_accounts(directory, ["zhangsan"], bcrypt_cost=BCRYPT_COST)
    with sandbox_process() as sandbox:
        with closing(Phones(sandbox)) as phones:
            most_guesses = int(clients * (seconds / PAUSE_S + 1))
            codes = [phones.code(f"user{n}") for n in range(most_guesses)]
            codes.append(phones.code("zhangsan"))
        # Without the cache: what answers from memory waits for nothing.
        options = ServerOptions(
            str(directory),
            f"http://{sandbox.address}",
            BCRYPT_COST,
            unprotected=unprotected,
            cached_sessions=0,
        )
        with server_process(options) as server:
            answers, validations = asyncio.run_coroutine_threadsafe(
                storm(server.address, codes, clients=clients, seconds=seconds), loop
            ).result()
            return answers, validations, json.loads(server.stop())["most_bcrypt_at_once"]


@pytest.mark.timeout(240)
def test_validations_go_on(
    tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop
) -> None:
    guesses, validations, most_bcrypt = _run(tmp_path / "data", server_loop, 30 if long else 3)
    reasons = Counter((guess.code.name, guess.reason) for guess in guesses)
    print(f"{validations}; guesses {dict(reasons)}; {most_bcrypt} bcrypt at a time")
    assert not validations.failed
    assert set(reasons) == {
        ("UNAUTHENTICATED", "CREDENTIALS_INVALID"),
        ("RESOURCE_EXHAUSTED", "OVERLOADED"),
    }
    assert all(guess.retry_after_s for guess in guesses if guess.reason == "OVERLOADED")
    assert 0 < most_bcrypt <= (os.cpu_count() or 1)


def test_control_one_pool_for_everything_fails_validations(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    """Without the bounded pool the guesses queue before the validations."""
    guesses, validations, most_bcrypt = _run(
        tmp_path / "data", server_loop, 1, clients=20, unprotected=ONE_POOL
    )
    print(f"{validations}; {most_bcrypt} bcrypt at a time")
    assert validations.failed > len(validations.seconds) / 10
    assert not any(guess.reason == "OVERLOADED" for guess in guesses)
