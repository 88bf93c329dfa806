"""A login whose answer is lost ends with one session, and its user has it (reliability.md row 9).

Promised: when the connection breaks after the server has committed, or while it
is still at work, the client asks again by itself and gets the session that the
first attempt began. There is one, and WeChat is never asked about a used code.
Proved by a proxy that loses the first answer of every login. The request_id,
the exchange row and the derived SessionId are what holds it.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fault.dropping_proxy import Cut, dropping_proxy
from tests.fault.seeded_store import PASSWORD, rows, seed_accounts, seed_bindings
from tests.fault.server_process import ServerOptions
from tests.fault.serving import (
    ChildProcess,
    Phones,
    sandbox_process,
    server_process,
    set_slow,
)
from tests.fault.test_kill9 import half_transactions
from tests.fault.unprotected import IGNORED_REQUEST_ID, NO_SHARING
from tests.sandbox_server import RunningSandbox
from wechat_sandbox.world import openid_of
from wxauth_client import AuthClient, CodeUsed, Login, WxauthError
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.session_id import session_digest

#: Each loses a connection per login, so that no login breaks another one's.
CLIENTS = 8
BCRYPT_COST = 4
#: So that the retry, which comes after 0.1 s, finds its login still at work.
SLOW_MS = 250


class Kind(enum.Enum):
    """What a login has to do."""

    SILENT = "silent"
    PASSWORD = "with a password"
    BINDING = "with a password, and binds"


#: Half silent; half with a password, every other one of them for the first time.
MIXTURE = (Kind.SILENT, Kind.PASSWORD, Kind.SILENT, Kind.BINDING)


@dataclass(frozen=True)
class Attempted:
    """A login, of a user who logs in once, and what its client was told in the end."""

    username: str
    kind: Kind
    code: str = field(repr=False)
    answer: Login | WxauthError


@dataclass(frozen=True)
class Findings:
    """`dropped`: the SessionId of the lost answer by its code. `exchanges`: errcodes."""

    attempted: list[Attempted]
    dropped: dict[str, str] = field(repr=False)
    exchanges: Counter[int]

    def __str__(self) -> str:
        answers = Counter(
            "OK" if isinstance(login.answer, Login) else login.answer.reason
            for login in self.attempted
        )
        return (
            f"{len(self.attempted)} logins, {len(self.dropped)} first answers lost: "
            f"{dict(answers)}, WeChat was asked {self.exchanges.total()} times"
        )


def lose_answers(
    directory: Path,
    loop: asyncio.AbstractEventLoop,
    logins: int,
    cut: Cut,
    *,
    unprotected: str = "",
) -> Findings:
    """Log in so many users through a proxy that cuts each one's first attempt."""
    kinds = {f"user{n}": MIXTURE[n % len(MIXTURE)] for n in range(logins)}
    seed_accounts(directory, list(kinds), bcrypt_cost=BCRYPT_COST)
    seed_bindings(directory, [name for name, kind in kinds.items() if kind is not Kind.BINDING])
    with sandbox_process() as sandbox:
        options = ServerOptions(
            str(directory), f"http://{sandbox.address}", BCRYPT_COST, unprotected=unprotected
        )
        if cut is Cut.AFTER_THE_REQUEST:
            set_slow(sandbox, SLOW_MS)
        with (
            server_process(options) as server,
            dropping_proxy(server.port, cut, loop) as (address, proxy),
            ThreadPoolExecutor(CLIENTS) as threads,
        ):
            shares = [list(kinds.items())[n::CLIENTS] for n in range(CLIENTS)]
            done = threads.map(lambda share: _log_in_each(address, sandbox, share), shares)
            attempted = [login for share in done for login in share]
        exchanges = RunningSandbox(f"http://{sandbox.address}").exchanges()
    return Findings(attempted, proxy.dropped, Counter(call["errcode"] for call in exchanges))


def _log_in_each(
    address: str, sandbox: ChildProcess, users: Sequence[tuple[str, Kind]]
) -> list[Attempted]:
    attempted = []
    with AuthClient(address) as client, closing(Phones(sandbox)) as phones:
        for username, kind in users:
            code = phones.code(username)
            credentials = ("", "") if kind is Kind.SILENT else (username, PASSWORD)
            answer: Login | WxauthError
            try:
                answer = client.login(code, username=credentials[0], password=credentials[1])
            except WxauthError as error:
                answer = error
            attempted.append(Attempted(username, kind, code, answer))
    return attempted


def live_sessions(directory: Path) -> list[tuple[str, bytes]]:
    """openid and digest of each."""
    return rows(directory, "SELECT openid, digest FROM sessions WHERE ended_at IS NULL")


def half_transactions_of_logins(directory: Path) -> list[str]:
    """Without those halves that a seeded binding has by its nature."""
    return [half for half in half_transactions(directory) if "binding without" not in half]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("cut", Cut)
def test_one_session_comes_of_it(
    cut: Cut, tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop
) -> None:
    logins = 1_000 if long else 152
    directory = tmp_path / "data"
    found = lose_answers(directory, server_loop, logins, cut)
    print(f"cut {cut.value}: {found}")
    assert len(found.dropped) == logins
    answered = {}
    for login in found.attempted:
        assert isinstance(login.answer, Login), (login, login.answer)
        assert login.answer.account.username == login.username
        assert login.answer.bound_now == (login.kind is Kind.BINDING)
        if cut is Cut.AFTER_THE_ANSWER:
            assert login.answer.session_id == found.dropped[login.code]
        openid = openid_of(DEMO_APP_ID, login.username)
        answered[openid] = session_digest(login.answer.session_id)
    live = live_sessions(directory)
    assert len(live) == logins
    assert dict(live) == answered
    assert found.exchanges == {0: logins}
    # Nothing was done twice either.
    assert rows(directory, "SELECT event, COUNT(*) FROM audit_events GROUP BY event") == [
        ("BOUND", logins // 4),
        ("LOGIN", logins),
    ]
    assert not half_transactions_of_logins(directory)


def test_control_a_server_that_ignores_the_request_id_loses_sessions(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    """Then a retry is CODE_USED, and the session that was begun is nobody's."""
    directory, logins = tmp_path / "data", 2 * CLIENTS
    found = lose_answers(
        directory, server_loop, logins, Cut.AFTER_THE_ANSWER, unprotected=IGNORED_REQUEST_ID
    )
    print(found)
    assert len(found.dropped) == logins
    assert all(isinstance(login.answer, CodeUsed) for login in found.attempted)
    assert len(live_sessions(directory)) == logins


def test_control_a_retry_that_cannot_join_spends_the_code_again(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    """Then the retry asks WeChat about a code that the first attempt is about to use up."""
    found = lose_answers(
        tmp_path / "data", server_loop, CLIENTS, Cut.AFTER_THE_REQUEST, unprotected=NO_SHARING
    )
    print(found)
    assert found.exchanges[40163] > CLIENTS / 2
