"""A channel with new certificates takes over if calls get through on it; else the old one stays.

gRPC cannot exchange the certificates of a channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.contract.client_twins import KINDS, Ask, one_client
from tests.contract.exchanging_clients import Peers, Said, listening, scripted_peers
from tests.contract.secured_clients import shown
from tests.scripted_gate import Gate
from wxauth_client import ServerUnreachable, aio_connection, connection, file_watch
from wxauth_client.admission import Takeover


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)


@pytest.fixture
def said() -> Iterator[Said]:
    with listening() as heard:
        yield heard


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with scripted_peers(tmp_path) as made:
        yield made


@pytest.fixture
def ask(peers: Peers, kind: str, server_loop: asyncio.AbstractEventLoop) -> Iterator[Ask]:
    credentials = shown(peers.authority, peers.own)
    with one_client(kind, peers.server.address, server_loop, credentials=credentials) as asked:
        yield asked


def call_until(ask: Ask, seen: Callable[[], bool]) -> None:
    """Calls drive what a client does; so many of them are plenty."""
    for _ in range(100):
        if seen():
            return
        ask("validate", "x", timeout_s=5)
    raise AssertionError("it does not come")


def call_often(ask: Ask) -> None:
    for _ in range(8):
        ask("validate", "x", timeout_s=5)


def call_over_an_exchange(peers: Peers, ask: Ask, said: Said) -> None:
    """A call that begins with the first certificate and ends after the second took over."""
    gate = Gate(peers.server.answers["Logout"])
    peers.server.answers["Logout"] = gate
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(ask, "logout", "x", timeout_s=20)
        try:
            gate.wait_inside(1)
            peers.show("second.internal")
            call_until(ask, lambda: bool(said.taken_over))
        finally:
            gate.open()
        held.result()


def test_a_call_that_is_under_way_ends_on_the_old_channel_which_is_closed_then(
    peers: Peers, ask: Ask, said: Said
) -> None:
    call_over_an_exchange(peers, ask, said)
    ask("validate", "x", timeout_s=5)
    assert peers.seen[-1] == "second.internal"
    peers.server.health.wait_for_watchers(1)


def test_control_a_channel_that_is_closed_at_once_fails_its_calls(
    peers: Peers, ask: Ask, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def retire_at_once(_self: Any, link: aio_connection.AsyncLink) -> None:
        await link.close()

    monkeypatch.setattr(connection.Connection, "_retire", lambda _self, link: link.close())
    monkeypatch.setattr(aio_connection.AsyncConnection, "_retire", retire_at_once)
    with pytest.raises(ServerUnreachable):
        call_over_an_exchange(peers, ask, said)


@pytest.mark.parametrize(
    ("break_it", "text"),
    [
        (Peers.show_rogue, "ERROR no calls with the new certificates, the old ones stay in use: "),
        (Peers.show_another_key, "ERROR certificates of the client: the new one cannot be used"),
    ],
    ids=["rogue", "another key"],
)
def test_new_files_that_do_not_serve_leave_the_old_in_use(
    peers: Peers, ask: Ask, said: Said, break_it: Callable[[Peers], None], text: str
) -> None:
    ask("validate", "x", timeout_s=5)
    break_it(peers)
    call_until(ask, lambda: bool(said.count(text)))
    call_often(ask)
    assert set(peers.seen) == {"first.internal"}
    assert said.count("ERROR") == 1
    peers.show("third.internal")
    call_until(ask, lambda: bool(said.taken_over))
    ask("validate", "x", timeout_s=5)
    assert peers.seen[-1] == "third.internal"
    peers.server.health.wait_for_watchers(1)


def test_control_whatever_takes_over_untried_fails_calls(
    peers: Peers, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Takeover, "after", lambda *_: True)
    ask("validate", "x", timeout_s=5)
    peers.show_rogue()
    with pytest.raises(ServerUnreachable):
        call_often(ask)


def test_files_that_were_put_back(peers: Peers, ask: Ask, said: Said) -> None:
    """What had begun with the others is closed."""
    ask("validate", "x", timeout_s=5)
    before = peers.own.key.read_bytes(), peers.own.certificate.read_bytes()
    peers.show_rogue()
    call_until(ask, lambda: bool(said.count("ERROR")))
    peers.own.key.write_bytes(before[0])
    peers.own.certificate.write_bytes(before[1])
    call_until(ask, lambda: said.count("certificates of the client: exchanged") == 2)
    ask("validate", "x", timeout_s=5)
    assert said.taken_over == 0
    assert set(peers.seen) == {"first.internal"}
    peers.server.health.wait_for_watchers(1)


def test_the_first_call_for_long_does_not_meet_an_expired_certificate(
    peers: Peers, kind: str, server_loop: asyncio.AbstractEventLoop, said: Said
) -> None:
    expired = shown(peers.authority, peers.show("first.internal", good_for=timedelta(days=-1)))
    address = peers.server.address
    with one_client(kind, address, server_loop, credentials=expired) as ask:
        with pytest.raises(ServerUnreachable):
            ask("logout", "x", timeout_s=5)
        peers.show("second.internal")
        ask("logout", "x", timeout_s=5)
    assert said.taken_over == 1
