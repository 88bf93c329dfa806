"""Lists of AdminService: pages that lose nothing and repeat nothing that was there before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.admin_caller import AdminCaller, by_id
from tests.running_server import FakeClock, RunningServer
from wxauth.v1.admin_service_pb2 import (
    AdminServiceListSessionsRequest,
    ListAccountsRequest,
    ListBindingsRequest,
)
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.bindings import insert_binding
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SessionRecord, insert_session

COUNT = 1_201


def add_account(tx: Transaction, account_id: str) -> bool:
    return insert_account(
        tx,
        source="local",
        account_id=account_id,
        username=None,
        username_key=None,
        display_name=None,
        phone=None,
        password=None,
        now_ms=1,
    )


def walk(
    list_page: Callable[[Any], Any], request: Any, between: Callable[[], None] = lambda: None
) -> list[Any]:
    """The pages of a list; `between` two of them something happens."""
    pages = [list_page(request)]
    while pages[-1].next_page_token:
        between()
        request.page_token = pages[-1].next_page_token
        assert len(request.page_token) <= 512
        pages.append(list_page(request))
    return pages


def test_accounts_while_others_are_added(timed: RunningServer, admin: AdminCaller) -> None:
    there = {f"{number * 7919 % 10_007:05}" for number in range(COUNT)}
    timed.store.write(lambda tx: [add_account(tx, account_id) for account_id in there])
    added: list[str] = []

    def between() -> None:
        for account_id in (f"0-{len(added)}", f"99999-{len(added)}"):
            timed.store.write(partial(add_account, account_id=account_id))
            added.append(account_id)

    pages = walk(admin.ListAccounts, ListAccountsRequest(page_size=500), between)

    ids = [account.id for page in pages for account in page.accounts]
    assert [len(page.accounts) for page in pages] == [500, 500, 203]
    assert there <= set(ids) <= there | set(added)
    assert ids == sorted(set(ids))


def test_sizes(timed: RunningServer, admin: AdminCaller) -> None:
    """Without a size a hundred; a page that is just full is the last one if it is."""
    timed.store.write(lambda tx: [add_account(tx, f"{number:03}") for number in range(200)])
    for size, lengths in ((0, [100, 100]), (200, [200]), (199, [199, 1]), (1, [1] * 200)):
        pages = walk(admin.ListAccounts, ListAccountsRequest(page_size=size))
        assert [len(page.accounts) for page in pages] == lengths


def test_ids_of_all_kinds_fit_into_a_token(timed: RunningServer, admin: AdminCaller) -> None:
    ids = sorted(['"' * 128, "\\" * 128, "号" * 42, "a b", "-1", "é" * 64])
    timed.store.write(lambda tx: [add_account(tx, account_id) for account_id in ids])
    pages = walk(admin.ListAccounts, ListAccountsRequest(page_size=1))
    assert [account.id for page in pages for account in page.accounts] == ids


def test_bindings(timed: RunningServer, admin: AdminCaller) -> None:
    def bind(tx: Transaction) -> None:
        add_account(tx, "1")
        add_account(tx, "2")
        for number in range(COUNT):
            insert_binding(
                tx,
                app_id=f"wx{number % 3}",
                openid=f"o{number * 7919 % 10_007:05}",
                account=("local", "1" if number % 2 else "2"),
                exclusive=False,
                unionid=None,
                now_ms=1,
            )

    timed.store.write(bind)

    def found(**filters: Any) -> list[tuple[str, str]]:
        pages = walk(admin.ListBindings, ListBindingsRequest(page_size=250, **filters))
        return [(each.app_id, each.openid) for page in pages for each in page.bindings]

    everything = found()
    assert len(set(everything)) == COUNT
    assert everything == sorted(everything)
    assert len(found(app_id="wx1")) == COUNT // 3
    halves = [found(account=by_id(account_id)) for account_id in "12"]
    assert sorted(halves[0] + halves[1]) == everything


def test_sessions_of_one_moment(timed: RunningServer, admin: AdminCaller, clock: FakeClock) -> None:
    """Many began in the same millisecond; later logins do not shift the pages."""

    def begin(tx: Transaction, number: int, now_ms: int) -> None:
        handle = f"{number * 7919 % 10_007:022}"
        insert_session(
            tx,
            SessionRecord.beginning(
                digest=hashlib.sha256(handle.encode()).digest(),
                handle=handle,
                app_id="wx1",
                openid="o",
                account=("local", "1"),
                now_ms=now_ms,
            ),
        )

    def fill(tx: Transaction) -> None:
        add_account(tx, "1")
        for number in range(COUNT):
            begin(tx, number, clock.ms - number // 400)

    timed.store.write(fill)
    later = iter(range(COUNT, COUNT + 9))

    def between() -> None:
        clock.ms += 1
        timed.store.write(lambda tx: begin(tx, next(later), clock.ms))

    request = AdminServiceListSessionsRequest(page_size=250, account=by_id("1"))
    pages = walk(admin.ListSessions, request, between)

    order = [
        (-each.login_time.ToMilliseconds(), each.session_handle)
        for page in pages
        for each in page.sessions
    ]
    assert [len(page.sessions) for page in pages] == [250, 250, 250, 250, 201]
    assert order == sorted(set(order))
    assert len(order) == COUNT
