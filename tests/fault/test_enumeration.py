"""Refused credentials tell nothing about the account (reliability.md row 20, F20).

Promised: an unknown user, a wrong password, a disabled account, an account
without a password, one whose password is out of use after too many failures, one
whose stored hash is malformed and one with another system's cheaper bcrypt hash
get the same bytes, and their times cannot be told
apart. Proved by whole logins over a socket on the same machine, nearer than any
attacker gets: equal code, message and trailers, and the area under the ROC curve
(AUC) of the times of each pair of classes, where 0.5 is guessing and 1.0 is
certainty. The dummy hash of equal cost is what holds it. WeChat is left out: its
time comes before the credentials are looked at, and would only add noise.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
import grpc
import pytest

from tests.fault.calls import read_refusal
from tests.fault.seeded_store import PASSWORD, SOURCE, WRONG_PASSWORD, add_account, seed_accounts
from tests.fault.server_process import ServerOptions
from tests.fault.serving import ChildProcess, server_process
from tests.fault.unprotected import NO_DUMMY_HASH
from wxauth.v1.auth_service_pb2 import LoginRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.accounts.passwords import take_over
from wxauth_server.accounts.throttle import (
    FORGET_NAME_MS,
    LAPSE_MS,
    NameDigests,
    ThrottleLimits,
)
from wxauth_server.config import load_configuration
from wxauth_server.store.accounts import set_disabled
from wxauth_server.store.interface import Transaction
from wxauth_server.store.opening import open_store
from wxauth_server.store.throttles import ThrottleKey, end_attempt, reserve_attempt

pytestmark = pytest.mark.alone

#: Class of refusal -> its user, and the password that is tried.
ATTEMPTS: Mapping[str, tuple[str, str]] = {
    "wrong password": ("enabled", WRONG_PASSWORD),
    "unknown user": ("unknown", PASSWORD),
    "disabled account": ("disabled", PASSWORD),
    "no password": ("silent", PASSWORD),
    "password out of use": ("locked", PASSWORD),
    "malformed hash": ("malformed", PASSWORD),
    "cheaper foreign hash": ("foreign", WRONG_PASSWORD),
}

#: Clients that guess at a time, each one guess after the other.
LANES = 2
BAND = 0.05
#: Attempts of a class at cost 6. In five of six runs the first 400 find every pair in
#: the band, which a pair with an AUC of 0.6 would pass once in 140 runs. Else the
#: other 600 are made too, and all decide: the AUC of two equal classes then has a
#: standard deviation of 0.013, and leaves the band by chance once in 9,000 runs.
SHORT_ATTEMPTS, SHORT_COST = (400, 600), 6
#: At cost 12 a thousand would take a quarter of an hour: 300, and a band of four
#: standard deviations, 0.094.
LONG_ATTEMPTS, LONG_COST = (300,), 12
#: 16 ms: what the control must find is then far above the noise of a busy machine.
CONTROL_COST = 8

#: What a caller sees of a refusal.
Seen = tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]


def auc(left: Sequence[float], right: Sequence[float]) -> float:
    """The chance that a time of `left` is shorter than one of `right`, ties counted half."""
    merged = sorted([(value, 0) for value in left] + [(value, 1) for value in right])
    wins, shorter = 0.0, 0
    for _, group in itertools.groupby(merged, key=lambda entry: entry[0]):
        sides = [side for _, side in group]
        of_left = sides.count(0)
        wins += (len(sides) - of_left) * (shorter + of_left / 2)
        shorter += of_left
    return wins / (len(left) * len(right))


def deviation(attempts: int) -> float:
    """The standard deviation of the AUC of two equal classes of so many attempts each."""
    return math.sqrt((2 * attempts + 1) / (12 * attempts * attempts))


def farthest_pair(times: Mapping[str, Sequence[float]]) -> tuple[float, str]:
    """The AUC that is farthest from 0.5, and of which two classes it is."""
    pairs = [(auc(times[a], times[b]), f"{a} / {b}") for a, b in itertools.combinations(times, 2)]
    return max(pairs, key=lambda pair: abs(pair[0] - 0.5))


def seed(directory: Path, *, bcrypt_cost: int) -> None:
    """An account for each class but the unknown user."""
    seed_accounts(directory, ["enabled", "disabled", "locked"], bcrypt_cost=bcrypt_cost)
    cheaper = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(bcrypt_cost - 1)).decode()

    def insert(tx: Transaction) -> None:
        add_account(tx, "silent", None)
        add_account(tx, "malformed", "bcrypt$$not a hash")
        add_account(tx, "foreign", take_over(cheaper))
        assert set_disabled(tx, SOURCE, "id-disabled", disabled_at=1)
        lock(tx, NameDigests(keyring).of(SOURCE, "locked"))

    store, keyring = open_store(load_configuration(store={"directory": directory}))
    try:
        store.write(insert)
    finally:
        store.close()


def lock(tx: Transaction, name: bytes) -> None:
    """As many failures as put a password out of use."""
    key, now_ms = ThrottleKey(name, "", ""), int(time.time() * 1000)
    for _ in range(ThrottleLimits().failures_before_lock):
        reserve_attempt(tx, key, forget_ms=FORGET_NAME_MS, lapse_ms=LAPSE_MS, now_ms=now_ms)
        end_attempt(tx, key, failed_at=now_ms)


class Guesses:
    """Refused logins of every class, taking turns in a random order."""

    def __init__(self, server: ChildProcess, classes: Sequence[str]) -> None:
        self.times: dict[str, list[float]] = {name: [] for name in classes}
        self.seen: set[Seen] = set()
        self._server = server
        self._classes = classes
        self._lock = threading.Lock()
        self._runs = 0

    def run(self, attempts: int) -> None:
        """So many of each class, in all lanes together."""
        self._runs += 1
        with ThreadPoolExecutor(LANES) as lanes:
            for lane in [lanes.submit(self._lane, n, attempts // LANES) for n in range(LANES)]:
                lane.result()

    def _lane(self, lane: int, attempts: int) -> None:
        order = random.Random(f"{self._runs} {lane}")
        with grpc.insecure_channel(
            self._server.address, options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            stub = AuthServiceStub(channel)
            for turn in range(-3, attempts):  # a few first, which fill caches
                for name in order.sample(self._classes, len(self._classes)):
                    # A code works once, and all are of one length.
                    code = f"guesser{self._runs}-{lane}-{turn}-{self._classes.index(name)}"
                    seen, seconds = self._guess(stub, code, name)
                    with self._lock:
                        self.seen.add(seen)
                        if turn >= 0:
                            self.times[name].append(seconds)

    def _guess(self, stub: AuthServiceStub, code: str, name: str) -> tuple[Seen, float]:
        username, password = ATTEMPTS[name]
        request = LoginRequest(code=code, username=username, password=password)
        started = time.perf_counter()
        try:
            stub.Login(request, timeout=10)
        except grpc.RpcError as error:
            seconds = time.perf_counter() - started
            return _seen(error), seconds
        raise AssertionError(f"{name} logged in")


def _seen(refusal: Any) -> Seen:
    """Everything there is to see of a refusal, which must be of credentials."""
    if read_refusal(refusal, 0.0).reason != "CREDENTIALS_INVALID":
        raise AssertionError(str(refusal))
    trailers = tuple((key, value) for key, value in refusal.trailing_metadata())
    return refusal.code(), refusal.details(), trailers


def _run(
    directory: Path,
    *,
    attempts: Sequence[int],
    cost: int,
    classes: Sequence[str] = tuple(ATTEMPTS),
    unprotected: str = "",
) -> Guesses:
    seed(directory, bcrypt_cost=cost)
    options = ServerOptions(
        str(directory), bcrypt_cost=cost, instant_wechat=True, unprotected=unprotected
    )
    with server_process(options) as server:
        guesses = Guesses(server, classes)
        for more in attempts:
            guesses.run(more)
            farthest, _ = farthest_pair(guesses.times)
            if abs(farthest - 0.5) <= BAND:
                break
        return guesses


@pytest.mark.timeout(1200)
def test_refusals_cannot_be_told_apart(tmp_path: Path, long: bool) -> None:
    """At a cheap cost with many attempts; in the long form at the real cost too."""
    cases: list[tuple[int, Sequence[int]]] = [(SHORT_COST, SHORT_ATTEMPTS)]
    if long:
        cases.append((LONG_COST, LONG_ATTEMPTS))
    for cost, attempts in cases:
        guesses = _run(tmp_path / f"data{cost}", attempts=attempts, cost=cost)
        farthest, pair = farthest_pair(guesses.times)
        made = len(guesses.times["unknown user"])
        print(f"{made} of each class at cost {cost}: AUC {farthest:.3f} at most, {pair}")
        assert len(guesses.seen) == 1
        assert abs(farthest - 0.5) <= max(BAND, 4 * deviation(sum(attempts))), pair


def test_control_without_the_dummy_hash_a_user_is_known_by_the_time(tmp_path: Path) -> None:
    """A server that answers at once where there is nothing to check gives it away."""
    known, unknown = "wrong password", "unknown user"
    guesses = _run(
        tmp_path / "data",
        attempts=[60],
        cost=CONTROL_COST,
        classes=(known, unknown),
        unprotected=NO_DUMMY_HASH,
    )
    found = auc(guesses.times[unknown], guesses.times[known])
    print(f"without the dummy hash: AUC {found:.3f}")
    assert len(guesses.seen) == 1
    assert found > 0.9
