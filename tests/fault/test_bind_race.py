"""Parallel first logins end with exactly one binding (reliability.md row 25, F18).

Promised: of any number of logins that would bind the same WeChat user, or the
same account, one wins, and the others are told OPENID_ALREADY_BOUND or
ACCOUNT_ALREADY_BOUND with ALREADY_EXISTS, after their password was right.
Proved by forty at a time; the constraints of the schema are what holds it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import Answer, log_in
from tests.fault.seeded_store import PASSWORD, rows, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import Phones, sandbox_process, server_process
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sqlite import SQLiteStore

pytestmark = pytest.mark.alone

PARALLEL = 40
BCRYPT_COST = 4
#: So many cores have a password pool with room for all of them.
CORES = PARALLEL // 4


async def _race(address: str, logins: Sequence[tuple[str, str]]) -> list[Answer]:
    """All at once; each is a code and the username to log in with."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AuthServiceStub(channel)
        await channel.channel_ready()
        return await asyncio.gather(
            *(log_in(stub, code, username, PASSWORD) for code, username in logins)
        )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["openid", "account"])
def test_exactly_one_binding(
    what: str, tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop
) -> None:
    rounds = 50 if long else 5
    directory = tmp_path / "data"
    names = [[f"r{r}n{n}" for n in range(PARALLEL)] for r in range(rounds)]
    seed_accounts(directory, [name for names_ in names for name in names_], bcrypt_cost=4)
    with sandbox_process() as sandbox, closing(Phones(sandbox)) as phones:
        options = ServerOptions(
            str(directory), f"http://{sandbox.address}", BCRYPT_COST, cores=CORES
        )
        with server_process(options) as server:
            for number, usernames in enumerate(names):
                if what == "openid":
                    logins = [(phones.code(f"user{number}"), name) for name in usernames]
                else:
                    logins = [(phones.code(f"user{name}"), usernames[0]) for name in usernames]
                answers = asyncio.run_coroutine_threadsafe(
                    _race(server.address, logins), server_loop
                ).result()
                loser = f"{what.upper()}_ALREADY_BOUND"
                assert Counter(answer.reason for answer in answers) == {
                    "OK": 1,
                    loser: PARALLEL - 1,
                }
                assert all(
                    answer.code is grpc.StatusCode.ALREADY_EXISTS
                    for answer in answers
                    if not answer.ok
                )
    winners = Counter(rows(directory, "SELECT openid, COUNT(*) FROM bindings GROUP BY openid"))
    assert len(winners) == rounds
    assert {count for _, count in winners} == {1}
    [(accounts, bindings)] = rows(
        directory, "SELECT COUNT(DISTINCT account_id), COUNT(*) FROM bindings"
    )
    assert accounts == bindings == rounds


def test_control_a_check_without_a_constraint_has_several_winners(tmp_path: Path) -> None:
    """Look, then insert, on the same engine: the race is real, and a check does not win it."""
    store = SQLiteStore(tmp_path / "data")
    store.write(lambda tx: tx.execute("CREATE TABLE naive (openid TEXT, account TEXT)"))
    start = threading.Barrier(PARALLEL)

    def taken(tx: Transaction) -> bool:
        return bool(tx.execute("SELECT 1 FROM naive WHERE openid = 'o'"))

    def bind(account: int) -> bool:
        start.wait()
        if store.read(taken):
            return False
        store.write(
            lambda tx: tx.execute("INSERT INTO naive VALUES ('o', :account)", {"account": account})
        )
        return True

    with ThreadPoolExecutor(PARALLEL) as threads:
        winners = sum(threads.map(bind, range(PARALLEL)))
    store.close()
    print(f"{winners} winners of {PARALLEL}")
    assert winners > 1
