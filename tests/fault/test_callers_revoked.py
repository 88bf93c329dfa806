"""Who is taken out of callers.json is refused within a moment; nobody else notices.

Promised: the server looks at the file every second; a caller that is taken out gets
nothing more from then on, one that is put in gets in, and the calls of all others go
on. Proved by changing the file under load, each time taking out the caller that the
change before put in. How long it took is printed: a second at most on a quiet machine.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bench.seeded_sessions import seed_sessions
from tests.certificates import Authority
from tests.fault.secured_server import (
    CALLERS_OF_THE_START,
    SecuredOptions,
    SecuredServer,
    new_caller_token,
    write_callers,
)
from tests.fault.steady_load import (
    OneCall,
    SteadyLoad,
    channel_credentials,
    open_channel,
    steady_load,
    validation,
    validation_reconnecting,
)

pytestmark = pytest.mark.alone

#: A second to the next look; so much more only for a machine that is very busy.
MOST_S = 10.0
#: The control's: three looks of a server that looks.
MOST_OF_CONTROL_S = 3.0
REFUSED = "CALLER_UNAUTHENTICATED"


@dataclass
class Findings:
    """What became of those who were taken out and put in. Seconds since the change of the file."""

    #: The last call that was answered began then; what began later was refused.
    refused_after_s: list[float] = field(default_factory=list)
    let_in_after_s: list[float] = field(default_factory=list)
    #: Changes that did not take effect in time.
    late: int = 0
    #: How calls with the tokens taken out ended, each tried once more after all changes.
    at_the_end: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{len(self.refused_after_s)} changes: refused after at most "
            f"{max(self.refused_after_s):.2f} s, let in after at most "
            f"{max(self.let_in_after_s):.2f} s, {self.late} late"
        )


async def _until(reason: str, once: OneCall, changed_at: float, most_s: float) -> float | None:
    """When the last call began that did not end so; None for one that began too late."""
    last_s = 0.0
    while True:
        began_s = time.monotonic() - changed_at
        if await once() == reason:
            return last_s
        if began_s > most_s:
            return None
        last_s = began_s


async def _change_callers(
    directory: Path, changes: int, *, most_s: float = MOST_S, unprotected: str = ""
) -> tuple[SteadyLoad, Findings]:
    store = directory / "data"
    [session_id] = seed_sessions(store, 1)
    authority = Authority(directory)
    issued = authority.issue("server", "127.0.0.1")
    stays = new_caller_token()
    tokens = [new_caller_token() for _ in range(changes + 1)]

    def let_in(number: int) -> None:
        write_callers(store, {"stays": stays, f"caller-{number}": tokens[number]})

    let_in(0)
    tls = {"certificate_file": str(issued.certificate), "key_file": str(issued.key)}
    grpc_table = {"tls": tls, "require_callers": True}
    options = SecuredOptions(str(store), grpc_table, unprotected=unprotected)
    credentials = channel_credentials(authority.ca)
    found = Findings()
    server = await asyncio.to_thread(SecuredServer, options)
    try:
        async with AsyncExitStack() as stack:
            channel = await stack.enter_async_context(open_channel(server.address, credentials))
            load = await stack.enter_async_context(
                steady_load(
                    {
                        "keeps 0": validation(channel, session_id, stays),
                        "keeps 1": validation(channel, session_id, stays),
                        "reconnects": validation_reconnecting(
                            server.address, credentials, session_id, stays
                        ),
                    }
                )
            )
            for number in range(changes):
                out, new = (
                    validation(channel, session_id, token) for token in tokens[number : number + 2]
                )
                assert await out() == "OK"
                await asyncio.to_thread(let_in, number + 1)
                changed_at = time.monotonic()
                refused_s, let_in_s = await asyncio.gather(
                    _until(REFUSED, out, changed_at, most_s),
                    _until("OK", new, changed_at, most_s),
                )
                if refused_s is None or let_in_s is None:
                    found.late += 1
                    break
                found.refused_after_s.append(refused_s)
                found.let_in_after_s.append(let_in_s)
            await load.another_call_of_each()
            for token in tokens[:-1]:
                found.at_the_end.append(await validation(channel, session_id, token)())
        return load, found
    finally:
        server.kill()


@pytest.mark.timeout(120)
def test_who_is_taken_out_is_refused_and_nobody_else(
    tmp_path: Path, long: bool, server_loop: asyncio.AbstractEventLoop
) -> None:
    changes = 20 if long else 3
    load, found = asyncio.run_coroutine_threadsafe(
        _change_callers(tmp_path, changes), server_loop
    ).result()
    print(f"{load}; {found}")
    assert not load.failures
    assert not found.late
    assert len(found.refused_after_s) == changes
    assert set(found.at_the_end) == {REFUSED}


def test_control_a_server_that_reads_the_file_once_lets_them_go_on(
    tmp_path: Path, server_loop: asyncio.AbstractEventLoop
) -> None:
    load, found = asyncio.run_coroutine_threadsafe(
        _change_callers(tmp_path, 1, most_s=MOST_OF_CONTROL_S, unprotected=CALLERS_OF_THE_START),
        server_loop,
    ).result()
    assert not load.failures
    assert found.late == 1
    assert found.at_the_end == ["OK"]
