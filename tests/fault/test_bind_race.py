"""Parallel first logins end with exactly one binding (reliability.md row 25, F18).

Promised: of any number of logins that would bind the same WeChat user, or the
same account, one wins, and the others are told OPENID_ALREADY_BOUND or
ACCOUNT_ALREADY_BOUND with ALREADY_EXISTS, after their password was right.
Proved by forty at a time, at one server and at two that share a PostgreSQL; the
constraints of the schema are what holds it.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import Answer, log_in
from tests.fault.seeded_store import PASSWORD, rows, seed_accounts, store_table
from tests.fault.server_process import ServerOptions
from tests.fault.serving import Phones, sandbox_process, server_process
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.config import load_configuration
from wxauth_server.store.interface import Transaction
from wxauth_server.store.opening import open_database

pytestmark = pytest.mark.alone

PARALLEL = 40
BCRYPT_COST = 4
#: Two PostgreSQL transactions of one account are run one after the other, at the second
#: attempt: forty logins at once wait for longer than a server lets them.
MOST_ATTEMPTS = 10
#: So many cores have a password pool with room for all of them.
CORES = PARALLEL // 4


async def _race(addresses: Sequence[str], logins: Sequence[tuple[str, str]]) -> list[Answer]:
    """All at once, at the servers in turn; each is a code and the username to log in with."""
    async with AsyncExitStack() as opened:
        stubs = []
        for address in addresses:
            channel = await opened.enter_async_context(grpc.aio.insecure_channel(address))
            await channel.channel_ready()
            stubs.append(AuthServiceStub(channel))
        return await asyncio.gather(
            *(
                _verdict(stub, code, username)
                for stub, (code, username) in zip(itertools.cycle(stubs), logins, strict=False)
            )
        )


async def _verdict(stub: AuthServiceStub, code: str, username: str) -> Answer:
    """What a login ends with that is repeated for as long as the store is too busy for it."""
    request_id = secrets.token_urlsafe(16)
    answers: list[Answer] = []
    while not answers or answers[-1].reason == "STORE_UNAVAILABLE":
        assert len(answers) < MOST_ATTEMPTS
        answers.append(await log_in(stub, code, username, PASSWORD, request_id=request_id))
    return answers[-1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("what", ["openid", "account"])
def test_exactly_one_binding(
    what: str,
    store_url: str,
    tmp_path: Path,
    long: bool,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    """At one server of an SQLite, and at two of a PostgreSQL."""
    servers = 2 if store_url else 1
    rounds = 50 if long else 6 // servers
    directory = tmp_path / "data"
    names = [[f"r{r}n{n}" for n in range(PARALLEL)] for r in range(rounds)]
    accounts = [name for names_ in names for name in names_]
    seed_accounts(directory, accounts, bcrypt_cost=BCRYPT_COST, url=store_url)
    with sandbox_process() as sandbox, closing(Phones(sandbox)) as phones:
        options = ServerOptions(
            str(directory),
            f"http://{sandbox.address}",
            BCRYPT_COST,
            cores=CORES,
            store_url=store_url,
        )
        with ExitStack() as running:
            addresses = [
                running.enter_context(server_process(options)).address for _ in range(servers)
            ]
            for number, usernames in enumerate(names):
                if what == "openid":
                    logins = [(phones.code(f"user{number}"), name) for name in usernames]
                else:
                    logins = [(phones.code(f"user{name}"), usernames[0]) for name in usernames]
                answers = asyncio.run_coroutine_threadsafe(
                    _race(addresses, logins), server_loop
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
    by_openid = "SELECT openid, COUNT(*) FROM bindings GROUP BY openid"
    winners = Counter(rows(directory, by_openid, url=store_url))
    assert len(winners) == rounds
    assert {count for _, count in winners} == {1}
    counts = "SELECT COUNT(DISTINCT account_id), COUNT(*) FROM bindings"
    assert rows(directory, counts, url=store_url) == [(rounds, rounds)]


def test_control_a_check_without_a_constraint_has_several_winners(
    tmp_path: Path, store_url: str
) -> None:
    """Look, then insert, on the same engine: the race is real, and a check does not win it."""
    configuration = load_configuration(store=store_table(tmp_path / "data", store_url))
    store = open_database(configuration.store)
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
