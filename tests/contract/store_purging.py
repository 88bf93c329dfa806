"""What a store removes when its time is over, and never before."""

from __future__ import annotations

from functools import partial

from tests.contract.store_rows import APP, NOW, OTHER_APP, add_account, digest, start
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Store
from wxauth_server.store.purge import OldSession, delete_sessions, forget_events, next_old_sessions


def handles(store: Store) -> list[str]:
    rows = store.read(lambda tx: tx.execute("SELECT handle FROM sessions ORDER BY handle"))
    return [handle for (handle,) in rows]


class PurgePromises:
    """What a store removes when its time is over."""

    def test_old_sessions_come_by_login(self, store: Store) -> None:
        """Page by page, of all apps; logins of one moment are neither lost nor given twice."""
        add_account(store)
        for number in range(7):
            start(
                store,
                number,
                app_id=OTHER_APP if number % 2 else APP,
                now_ms=NOW + (0 if number < 4 else number),
            )

        def page(after: tuple[int, bytes]) -> list[OldSession]:
            return store.read(
                lambda tx: next_old_sessions(tx, after=after, before_ms=NOW + 6, limit=3)
            )

        pages = [page((-1, b""))]
        while pages[-1]:
            pages.append(page((pages[-1][-1].login_at, pages[-1][-1].digest)))
        assert [len(each) for each in pages] == [3, 3, 0]
        found = [old for each in pages for old in each]
        assert {old.digest for old in found} == {digest(number) for number in range(6)}
        assert [old.login_at for old in found] == [NOW] * 4 + [NOW + 4, NOW + 5]
        assert {old.app_id for old in found} == {APP, OTHER_APP}

    def test_only_sessions_from_before_a_time_are_deleted(self, store: Store) -> None:
        """Whoever chose them looked at another moment: the row itself decides."""
        add_account(store)
        old, young = start(store, "old"), start(store, "young", now_ms=NOW + 1)
        start(store, "unnamed")
        dead = [(old, NOW + 1), (young, NOW + 1), (digest("never"), NOW + 1)]
        assert store.write(lambda tx: delete_sessions(tx, dead)) == 1
        assert handles(store) == ["unnamed", "young"]
        assert store.write(lambda tx: delete_sessions(tx, dead)) == 0

    def test_the_oldest_events_are_forgotten(self, store: Store) -> None:
        """From before a time, oldest first, at most so many; the newest stays for its id."""
        for number in range(5):
            store.write(partial(record_event, event=Event.LOGIN, now_ms=NOW + number))

        def forget(before_ms: int, limit: int) -> int:
            return store.write(lambda tx: forget_events(tx, before_ms=before_ms, limit=limit))

        def left() -> list[int]:
            rows = store.read(lambda tx: tx.execute("SELECT at FROM audit_events ORDER BY id"))
            return [at - NOW for (at,) in rows]

        assert forget(NOW, 9) == 0
        assert forget(NOW + 3, 2) == 2
        assert left() == [2, 3, 4]
        assert forget(NOW + 3, 9) == 1
        assert left() == [3, 4]
        assert forget(NOW + 99, 9) == 1
        assert forget(NOW + 99, 9) == 0
        store.write(lambda tx: record_event(tx, Event.LOGIN, now_ms=NOW + 5))
        [(ids,)] = store.read(lambda tx: tx.execute("SELECT COUNT(DISTINCT id) FROM audit_events"))
        assert (left(), ids) == ([4, 5], 2)
        [(newest,)] = store.read(lambda tx: tx.execute("SELECT MAX(id) FROM audit_events"))
        assert newest == 6, "no id twice"
