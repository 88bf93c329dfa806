"""A session cache never says yes over a second after the revocation was committed.

Whatever happens to the log, the streams, the calls, the clocks and the processes on
the way: a script of bytes says what does. Each control leaves out one rule, and the
same scripts find it out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.session_cache_machines import APPS, Session
from tests.unit.session_cache_world import StaleAnswer, World
from wxauth_client import lease
from wxauth_client.lease import Fill
from wxauth_client.revocations import LogPart, Revocation
from wxauth_client.session_cache import SessionCache

SEED = 3
T = TypeVar("T")
Cache = SessionCache[Session]

SCRIPT_BYTES = 320  # two for each step
PASSES_S = (*(0.01, 0.03, 0.05, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.7, 1.0) * 2, 2.0, 12.0)
THERE_S = (0.002, 0.002, 0.002, 0.1, 0.3, 0.7)
BACK_S = (0.002, 0.002, 0.1, 0.6, 3.0, 12.0)
LIVES_S = (10_000.0, 20.0, 5.0)
DELAYS_S = (0.01, 0.01, 0.01, 0.3, 3.0)


def one_of(choices: Sequence[T], number: int) -> T:
    return choices[number % len(choices)]


def time_passes(world: World, how: int) -> None:
    world.let_pass(one_of(PASSES_S, how))


def ask(world: World, how: int) -> None:
    there_s, back_s = one_of(THERE_S, how), one_of(BACK_S, how // 6)
    world.client.ask(world.servers[how % 2], one_of(world.sessions[-3:], how // 2), there_s, back_s)


def log_in(world: World, how: int) -> None:
    world.log_in(world.servers[how % 2], one_of(LIVES_S, how // 2))


def revoke_one(world: World, how: int) -> None:
    digest = one_of(world.sessions[-3:], how // 2).digest
    world.revoke(world.servers[how % 2], Revocation(digest))


def revoke_many(world: World, how: int) -> None:
    server = world.servers[how % 2]
    app_id = one_of(("", *APPS), how // 2)
    world.revoke(server, Revocation(app_id=app_id, login_by_ms=server.wall_ms()))


def open_again(world: World, how: int) -> None:
    token = one_of((world.client.cache.token, world.client.cache.token, b"9:9", None), how // 2)
    world.client.open(world.servers[how % 2], token)


def spoil_a_message(world: World, how: int) -> None:
    world.next_message = one_of(("lost", "twice", "late"), how)


def delay_the_stream(world: World, how: int) -> None:
    world.stream_delay_s = one_of(DELAYS_S, how)


def slow_down_a_read(world: World, how: int) -> None:
    world.servers[how % 2].next_read_takes_s = one_of((0.3, 0.6, 3.0), how // 2)


def stop_the_client(world: World, how: int) -> None:
    world.client.stopped_until_s = world.now_s + one_of((0.5, 3.0, 30.0), how)


def set_a_wall_clock(world: World, how: int) -> None:
    world.servers[how % 2].wall_offset_s = one_of((0.0, 5.0, -5.0), how // 2)


def move_the_database(world: World, how: int) -> None:
    world.move_database()


STEPS: list[Callable[[World, int], None]] = [
    *[time_passes] * 12,
    *[ask] * 12,
    *[log_in] * 3,
    *[revoke_one] * 4,
    revoke_many,
    *[open_again] * 2,
    *[spoil_a_message] * 2,
    *[delay_the_stream] * 2,
    slow_down_a_read,
    stop_the_client,
    set_a_wall_clock,
    move_the_database,
]


def play(world: World, script: bytes) -> None:
    for step, how in zip(script[::2], script[1::2], strict=True):
        one_of(STEPS, step)(world, how)


def test_never_later_than_a_second(long: bool) -> None:
    hits = 0

    @settings(
        max_examples=5_000 if long else 100, deadline=None, derandomize=not long, database=None
    )
    @given(st.binary(min_size=SCRIPT_BYTES, max_size=SCRIPT_BYTES))
    def whatever_happens(script: bytes) -> None:
        nonlocal hits
        world = World()
        play(world, script)
        hits += world.hits

    whatever_happens()
    assert hits > 1_000, "a cache that never answers proves nothing"


class RenewsAtReceipt(Cache):
    def apply(self, part: LogPart, now_s: float) -> bool:
        return super().apply(part._replace(as_of_s=now_s), now_s)


class RemembersNothing(Cache):
    def apply(self, part: LogPart, now_s: float) -> bool:
        applied = super().apply(part, now_s)
        self._revoked._applied_s.clear()
        return applied


class KeepsWhateverItForgot(Cache):
    """Answers of calls that took longer than revocations are remembered."""

    def store(self, fill: Fill, *of: Any, **facts: Any) -> bool:
        self._revoked.complete_since_s = -math.inf
        return super().store(fill, *of, **facts)


class TakesAnyPart(Cache):
    def apply(self, part: LogPart, now_s: float) -> bool:
        return super().apply(part._replace(follows=self.token or b""), now_s)


class ForgetsApps(Cache):
    def apply(self, part: LogPart, now_s: float) -> bool:
        single = [each for each in part.revocations if each.digest is not None]
        return super().apply(part._replace(revocations=single), now_s)


class KeepsAllAtReset(Cache):
    def reset(self, token: bytes, now_s: float) -> None:
        if self.token is None:
            super().reset(token, now_s)
        self._token = token


class ReuseFromTheEnd(World):
    reuse_from_the_end = True


CONTROLS: dict[str, Callable[[], World]] = {
    "the lease renewed at receipt": lambda: World(RenewsAtReceipt),
    "nothing remembered": lambda: World(RemembersNothing),
    "slow answers kept": lambda: World(KeepsWhateverItForgot),
    "gaps and old streams ignored": lambda: World(TakesAnyPart),
    "app-wide entries ignored": lambda: World(ForgetsApps),
    "nothing dropped at a reset": lambda: World(KeepsAllAtReset),
    "reuse_for from the end of the call": ReuseFromTheEnd,
}


@pytest.mark.parametrize("rule", CONTROLS)
def test_without_a_rule_it_is_later(rule: str) -> None:
    scripts = random.Random(SEED)

    def whatever_happens() -> None:
        for _ in range(500):
            play(CONTROLS[rule](), scripts.randbytes(SCRIPT_BYTES))

    with pytest.raises(StaleAnswer):
        whatever_happens()


@pytest.mark.parametrize("lag_s", [lease.SERVER_LAG_S, 0.0])
def test_another_server_that_knows_less(lag_s: float) -> None:
    """After a reset the client's own stream is ahead of a server that it asks."""
    world = World(client_lag_s=lag_s)
    behind, ahead = world.servers
    session = world.sessions[0]
    world.client.ask(behind, session, 0.002, 0.002)
    world.let_pass(0.2)  # both have read the log at 0.2 s
    behind.next_read_takes_s = 3.0
    world.revoke(ahead, Revocation(session.digest))
    world.let_pass(0.16)  # and one of them at 0.4 s
    world.client.open(ahead, None)
    world.let_pass(0.05)
    world.client.ask(behind, session, 0.002, 0.002)  # which answers from its cache
    if lag_s:
        world.let_pass(5.0)
    else:
        with pytest.raises(StaleAnswer):
            world.let_pass(5.0)
