"""Changes of the file of callers at the same time: none is lost, and none is seen by half."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import FILE_NAME, changing_callers, load_callers

ORDERS = Caller("orders", frozenset({Role.SERVICE}), 1_793_520_000_000)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A file with the caller orders in it."""
    add(tmp_path / FILE_NAME, ORDERS)
    return tmp_path / FILE_NAME


def named(name: str) -> Caller:
    return Caller(name, frozenset({Role.SERVICE}), 1_793_520_000_000)


def add(path: Path, caller: Caller) -> None:
    with changing_callers(path) as file:
        file.replace(file.book.with_caller(caller))


def names(path: Path) -> list[str]:
    return [caller.name for caller in load_callers(path).callers]


def test_of_many_changes_at_once_none_is_lost(written: Path) -> None:
    added = [f"caller-{number:02}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: add(written, named(name)), added))
    assert names(written) == [*added, "orders"]


def test_without_the_lock_a_change_is_lost(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: what it would see if nobody waited."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with changing_callers(written) as file:
        add(written, named("shop"))
        file.replace(file.book.with_caller(named("gateway")))
    assert names(written) == ["gateway", "orders"]


def test_a_second_change_waits_for_the_first(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    monkeypatch.setattr("wxauth_server.private_file.log.warning", lambda *_, **__: waits.set())
    with ThreadPoolExecutor(1) as thread:
        with changing_callers(written) as file:
            second = thread.submit(add, written, named("shop"))
            assert waits.wait(10)
            file.replace(file.book.with_caller(named("gateway")))
        second.result(10)
    assert names(written) == ["gateway", "orders", "shop"]


def test_a_reader_sees_the_old_or_the_new_one(written: Path) -> None:
    """However often it looks while the file is changed."""
    token = CallerToken("0" * 64, 1)
    both = [ORDERS, Caller("orders", ORDERS.roles, ORDERS.created_ms, tokens=(token,))]
    done = threading.Event()
    seen: list[CallerBook] = []

    def read() -> None:
        while not done.is_set():
            seen.append(load_callers(written, must_exist=True))

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        for number in range(40):
            add(written, both[number % 2])
        done.set()
        reading.result(10)
    assert {book.callers for book in seen} <= {(caller,) for caller in both}
    assert seen
