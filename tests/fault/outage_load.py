"""Clients that log in and validate while a database is away, and what their calls came to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field

import grpc

from tests.fault.calls import Answer, log_in, validate
from tests.fault.seeded_store import PASSWORD
from tests.fault.steady_load import until
from wechat_sandbox.world import openid_of
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.config import DEMO_APP_ID

#: Of each kind of call.
CLIENTS = 3
#: Between two logins of a client, lest it runs out of users.
LOGIN_PAUSE_S = 0.05
#: The first half of them are bound.
USERS = [f"user{number}" for number in range(600)]
BOUND_USERS = USERS[: len(USERS) // 2]

VALIDATION, SILENT_LOGIN, PASSWORD_LOGIN = "validation", "silent login", "password login"

#: Longest until a call has ended (reliability.md row 8b). A validation that comes while
#: others are read waits for them first, and for its own read then: 0.35 s each.
MOST_S = {VALIDATION: 1.0, SILENT_LOGIN: 1.5, PASSWORD_LOGIN: 1.5}


@dataclass(frozen=True)
class Call:
    """One that has ended; times by the monotonic clock."""

    client: str
    kind: str
    began_s: float
    answer: Answer

    @property
    def ended_s(self) -> float:
        return self.began_s + self.answer.seconds


@dataclass
class OutageLoad:
    """The calls that have ended, oldest end first."""

    #: Each one's kind.
    clients: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    async def each_fails(self, number: int, kinds: Collection[str]) -> None:
        """Wait until each client of these kinds had so many calls fail."""

        def enough() -> bool:
            counts = Counter(call.client for call in self.failed())
            return all(counts[c] >= number for c, kind in self.clients.items() if kind in kinds)

        await until(enough, f"{number} failures of each of {kinds}")

    async def each_succeeds(self, *, since_s: float) -> None:
        """Wait until each client had a success since then."""

        def enough() -> bool:
            served = {
                call.client for call in self.calls if call.answer.ok and call.ended_s >= since_s
            }
            return served >= self.clients.keys()

        await until(enough, "a success of each")

    def served_after_s(self, since_s: float) -> dict[str, float]:
        """When the first success of each kind came, from then on."""
        successes = [c for c in self.calls if c.answer.ok and c.ended_s >= since_s]
        return {
            kind: min(call.ended_s for call in successes if call.kind == kind) - since_s
            for kind in MOST_S
        }

    def failed(self) -> list[Call]:
        return [call for call in self.calls if not call.answer.ok]

    def late(self) -> list[Call]:
        """Calls that ended later than promised."""
        return [call for call in self.calls if call.answer.seconds > _most_s(call)]

    def succeeded_within(self, begin_s: float, end_s: float) -> list[Call]:
        return [
            call
            for call in self.calls
            if call.answer.ok and call.began_s >= begin_s and call.ended_s <= end_s
        ]

    def __str__(self) -> str:
        parts = []
        for kind, most_s in MOST_S.items():
            failures = [call.answer.seconds for call in self.failed() if call.kind == kind]
            longest_s = max(failures, default=0.0)
            parts.append(f"{len(failures)} {kind}s failed in up to {longest_s:.2f} s of {most_s} s")
        return f"{len(self.calls)} calls; {'; '.join(parts)}"


def _most_s(call: Call) -> float:
    # One that came through although it was under way has waited twice at most.
    waits_twice = call.kind == PASSWORD_LOGIN and call.answer.ok
    return (2 if waits_twice else 1) * MOST_S[call.kind]


@contextlib.asynccontextmanager
async def outage_load(
    address: str, users: Iterator[str], bound: Iterator[str]
) -> AsyncIterator[OutageLoad]:
    """Clients of each kind call one time after the other until the block ends.

    The WeChat of the server is `InstantWeChat`: a code is the openid that it stands for.
    """
    load = OutageLoad()
    ending = False
    async with grpc.aio.insecure_channel(address) as channel:
        stub = AuthServiceStub(channel)
        sessions = []
        for _ in range(CLIENTS):
            answer = await log_in(stub, openid_of(DEMO_APP_ID, next(bound)))
            assert answer.login is not None, answer
            sessions.append(answer.login.session_id)

        async def validation(number: int) -> Answer:
            return await validate(stub, sessions[number])

        async def silent_login(_: int) -> Answer:
            await asyncio.sleep(LOGIN_PAUSE_S)
            return await log_in(stub, openid_of(DEMO_APP_ID, next(bound)))

        async def password_login(_: int) -> Answer:
            await asyncio.sleep(LOGIN_PAUSE_S)
            username = next(users)
            return await log_in(stub, openid_of(DEMO_APP_ID, username), username, PASSWORD)

        async def run(kind: str, number: int, once: Callable[[int], Awaitable[Answer]]) -> None:
            while not ending:
                answer = await once(number)
                began_s = time.monotonic() - answer.seconds
                load.calls.append(Call(f"{kind} {number}", kind, began_s, answer))

        kinds = {VALIDATION: validation, SILENT_LOGIN: silent_login, PASSWORD_LOGIN: password_login}
        async with asyncio.TaskGroup() as tasks:
            for (kind, once), number in itertools.product(kinds.items(), range(CLIENTS)):
                load.clients[f"{kind} {number}"] = kind
                tasks.create_task(run(kind, number, once))
            try:
                await load.each_succeeds(since_s=time.monotonic())
                yield load
            finally:
                ending = True  # not cancelled: how the last calls end counts too
