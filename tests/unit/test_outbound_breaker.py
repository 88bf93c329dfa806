"""The circuit breaker, on a clock moved by hand."""

from __future__ import annotations

import threading

import pytest

from wxauth_server.outbound.breaker import CircuitBreaker, Outcome


class HandClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> CircuitBreaker:
    return CircuitBreaker(monotonic=clock)


def call(breaker: CircuitBreaker, outcome: Outcome) -> bool:
    admission = breaker.admit()
    assert admission.retry_after_s is None
    return breaker.settle(admission, outcome)


def open_it(breaker: CircuitBreaker) -> None:
    assert [call(breaker, Outcome.FAILED) for _ in range(5)] == [False] * 4 + [True]


def test_five_failures_in_a_row_open_it_for_five_seconds(
    breaker: CircuitBreaker, clock: HandClock
) -> None:
    open_it(breaker)
    assert breaker.admit().retry_after_s == 5.0
    clock.now += 4.5
    assert breaker.admit().retry_after_s == 0.5
    clock.now += 0.5
    assert breaker.admit().retry_after_s is None


def test_an_answer_in_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        call(breaker, Outcome.FAILED)
    call(breaker, Outcome.ANSWERED)
    for _ in range(4):
        assert not call(breaker, Outcome.FAILED)


def test_an_unknown_outcome_counts_neither_way(breaker: CircuitBreaker) -> None:
    for _ in range(4):
        call(breaker, Outcome.FAILED)
    call(breaker, Outcome.UNKNOWN)
    assert call(breaker, Outcome.FAILED)


def test_one_probe_passes_and_its_success_closes(breaker: CircuitBreaker, clock: HandClock) -> None:
    open_it(breaker)
    clock.now += 5
    probe = breaker.admit()
    assert probe.retry_after_s is None
    assert breaker.admit().retry_after_s == 1.0
    breaker.settle(probe, Outcome.ANSWERED)
    for _ in range(4):
        assert not call(breaker, Outcome.FAILED)


def test_a_failed_probe_opens_at_once(breaker: CircuitBreaker, clock: HandClock) -> None:
    open_it(breaker)
    clock.now += 5
    assert call(breaker, Outcome.FAILED)
    assert breaker.admit().retry_after_s == 5.0


def test_a_probe_without_a_verdict_lets_the_next_one_pass(
    breaker: CircuitBreaker, clock: HandClock
) -> None:
    open_it(breaker)
    clock.now += 5
    call(breaker, Outcome.UNKNOWN)
    assert call(breaker, Outcome.FAILED)


def test_calls_from_before_a_change_settle_without_effect(
    breaker: CircuitBreaker, clock: HandClock
) -> None:
    before = [breaker.admit() for _ in range(2)]
    open_it(breaker)
    breaker.settle(before[0], Outcome.ANSWERED)
    assert breaker.admit().retry_after_s == 5.0
    clock.now += 5
    probe = breaker.admit()
    breaker.settle(before[1], Outcome.FAILED)
    assert breaker.admit().retry_after_s == 1.0  # still waiting for the probe
    breaker.settle(probe, Outcome.ANSWERED)
    assert breaker.admit().retry_after_s is None


def test_of_many_threads_exactly_one_becomes_the_probe(
    breaker: CircuitBreaker, clock: HandClock
) -> None:
    open_it(breaker)
    clock.now += 5
    barrier = threading.Barrier(16)
    admitted: list[bool] = []

    def ask() -> None:
        barrier.wait()
        admitted.append(breaker.admit().retry_after_s is None)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [False] * 15 + [True]
