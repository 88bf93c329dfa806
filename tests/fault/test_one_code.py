"""A code from many connections at once is asked about once (reliability.md row 24).

Promised: of callers who come with one code at the same time, those with the
same request_id and credentials all get the same answer, and of those with
different ones one gets it and the others CODE_USED; WeChat is asked once. Proved
by fifty connections. Sharing the login that is in flight and the exchange row
are what holds it. Of two servers each may ask, and one is told that the code is
used: still one session comes of it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from tests.fault.calls import LOGIN_TIMEOUT_S, read_refusal
from tests.fault.seeded_store import PASSWORD, rows, seed_accounts, seed_bindings
from tests.fault.server_process import ServerOptions
from tests.fault.serving import Phones, sandbox_process, server_process, set_slow
from tests.fault.unprotected import NO_SHARING
from tests.pgserver import PostgresProcess
from tests.sandbox_server import RunningSandbox
from wxauth.v1.auth_service_pb2 import LoginRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

pytestmark = pytest.mark.alone

CONNECTIONS = 50
BCRYPT_COST = 4
#: Every other round: the first caller still waits for WeChat when the last one comes.
SLOW_MS = 300

#: The first two by who asks: one caller, many times, or many callers.
ONE_REQUEST = "one request_id"
OWN_REQUESTS = "a request_id each"


@dataclass
class Findings:
    """`rounds` are the answers of each: a reason, and the whole response if it is OK."""

    rounds: list[Counter[tuple[str, bytes]]] = field(default_factory=list)
    exchanges: Counter[int] = field(default_factory=Counter)
    sessions: int = 0

    def reasons(self) -> list[Counter[str]]:
        """Of each round."""
        counted = []
        for answers in self.rounds:
            reasons: Counter[str] = Counter()
            for (reason, _), count in answers.items():
                reasons[reason] += count
            counted.append(reasons)
        return counted

    def __str__(self) -> str:
        return (
            f"{len(self.rounds)} rounds of {CONNECTIONS}: "
            f"{dict(sum(self.reasons(), Counter()))}, {self.sessions} sessions, "
            f"WeChat was asked {self.exchanges.total()} times"
        )


@contextmanager
def _connections(addresses: Sequence[str]) -> Iterator[list[AuthServiceStub]]:
    """To these servers in turn."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(address, options=options))
            for address in itertools.islice(itertools.cycle(addresses), CONNECTIONS)
        ]
        for channel in channels:
            grpc.channel_ready_future(channel).result(timeout=10)
        yield [AuthServiceStub(channel) for channel in channels]


def _all_at_once(
    stubs: Sequence[AuthServiceStub], requests: Sequence[LoginRequest]
) -> Counter[tuple[str, bytes]]:
    calls = [
        stub.Login.future(request, timeout=LOGIN_TIMEOUT_S)
        for stub, request in zip(stubs, requests, strict=True)
    ]
    answers: Counter[tuple[str, bytes]] = Counter()
    for call in calls:
        try:
            answers["OK", call.result().SerializeToString(deterministic=True)] += 1
        except grpc.RpcError as error:
            answers[read_refusal(error, 0.0).reason, b""] += 1
    return answers


def log_in_at_once(
    directory: Path, rounds: int, callers: str, how: str, *, unprotected: str = "", url: str = ""
) -> Findings:
    """Rounds of a code each, of a user each; with a URL at two servers that share its database."""
    found = Findings()
    users = [f"user{n}" for n in range(rounds)]
    seed_accounts(directory, users, bcrypt_cost=BCRYPT_COST, url=url)
    if how == "silent":
        seed_bindings(directory, users, url=url)
    with sandbox_process() as sandbox, closing(Phones(sandbox)) as phones:
        options = ServerOptions(
            str(directory),
            f"http://{sandbox.address}",
            BCRYPT_COST,
            unprotected=unprotected,
            store_url=url,
        )
        with ExitStack() as running:
            servers = [
                running.enter_context(server_process(options)) for _ in range(2 if url else 1)
            ]
            stubs = running.enter_context(_connections([server.address for server in servers]))
            for number, user in enumerate(users):
                set_slow(sandbox, SLOW_MS if number % 2 == 0 else 0)
                code = phones.code(user)
                requests = [
                    LoginRequest(code=code, request_id=f"the-request-id-of-caller-{caller:02}")
                    for caller in ([0] * CONNECTIONS, range(CONNECTIONS))[callers == OWN_REQUESTS]
                ]
                if how == "password":
                    for request in requests:
                        request.username, request.password = user, PASSWORD
                found.rounds.append(_all_at_once(stubs, requests))
        exchanges = RunningSandbox(f"http://{sandbox.address}").exchanges()
    found.exchanges.update(call["errcode"] for call in exchanges)
    [(found.sessions,)] = rows(directory, "SELECT COUNT(*) FROM sessions", url=url)
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["silent", "password"])
@pytest.mark.parametrize("callers", [ONE_REQUEST, OWN_REQUESTS])
def test_one_session_comes_of_it(callers: str, how: str, tmp_path: Path, long: bool) -> None:
    rounds = 200 if long else 5
    found = log_in_at_once(tmp_path / "data", rounds, callers, how)
    print(f"{callers}, {how}: {found}")
    expected = {"OK": 1, "CODE_USED": CONNECTIONS - 1}
    if callers == ONE_REQUEST:
        expected = {"OK": CONNECTIONS}
        assert all(len(answers) == 1 for answers in found.rounds), "not byte for byte equal"
    assert found.reasons() == [expected] * rounds
    assert found.exchanges == {0: rounds}
    assert found.sessions == rounds


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("callers", "how"), [(ONE_REQUEST, "password"), (OWN_REQUESTS, "silent")])
def test_two_servers_make_one_session(
    callers: str, how: str, fault_postgres: PostgresProcess, tmp_path: Path, long: bool
) -> None:
    rounds = 100 if long else 4
    url = fault_postgres.new_url()
    found = log_in_at_once(tmp_path / "data", rounds, callers, how, url=url)
    print(f"{callers}, {how}: {found}; {found.exchanges}")
    for answers in found.rounds:
        successes = [count for (reason, _), count in answers.items() if reason == "OK"]
        assert len(successes) == 1, answers  # byte for byte equal
        assert {reason for reason, _ in answers} <= {"OK", "CODE_USED"}
        assert callers == ONE_REQUEST or successes == [1]
    assert found.exchanges[0] == rounds
    assert found.sessions == rounds


@pytest.mark.parametrize("callers", [ONE_REQUEST, OWN_REQUESTS])
def test_control_each_alone_asks_wechat_about_used_codes(callers: str, tmp_path: Path) -> None:
    """What the server does not share goes to WeChat, which refuses all but one."""
    found = log_in_at_once(tmp_path / "data", 2, callers, "silent", unprotected=NO_SHARING)
    print(f"{callers}: {found}")
    assert found.exchanges[40163] > CONNECTIONS / 2
