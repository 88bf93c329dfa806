"""How sessions come back from a store."""

from __future__ import annotations

import pytest

from tests.contract.store_rows import (
    ACCOUNT,
    APP,
    NOW,
    OPENID,
    OTHER_APP,
    account_of,
    add_account,
    bind,
    digest,
    session_of,
    start,
)
from wxauth_server.store.bindings import delete_binding
from wxauth_server.store.ended_sessions import end_session
from wxauth_server.store.interface import READ_AT_ONCE, Store
from wxauth_server.store.sessions import Cause, SessionRecord, insert_session, update_unionid

#: Texts that an encoding on the way could spoil.
AWKWARD_TEXTS = [
    "",
    "张三",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e8\U0001f1f3",
    "e\u0301 is not \u00e9",
    'say "hello"',
    "it's; DROP TABLE sessions; --",
    "back\\slash \\u0041 \\n",
    "".join(map(chr, range(1, 32))) + "\x7f\x80\x9b",
    "line\u2028paragraph\u2029next\u0085",
    "\ufeffmark\ufffe\uffff",
    "null",
    '["nested", {"json": 1}]',
    ":named ?1 %s {x}",
]
LARGEST = 2**63 - 1


class ReadingPromises:
    """How sessions come back from a store."""

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 33, READ_AT_ONCE - 1, READ_AT_ONCE])
    def test_sessions_are_read_together(self, store: Store, count: int) -> None:
        """As many as asked for, those never issued left out."""
        add_account(store)
        issued = [start(store, number) for number in range(count - count // 3)]
        unknown = [digest(("never", number)) for number in range(count // 3)]
        found = store.read_sessions([*unknown, *issued])
        assert found.keys() == set(issued)
        assert all(record.digest == key for key, record in found.items())
        assert found == {key: session_of(store, key) for key in issued}

    def test_no_session_is_read(self, store: Store) -> None:
        """Nothing asked for, nothing found."""
        assert dict(store.read_sessions([])) == {}

    def test_a_session_asked_for_twice_is_found_once(self, store: Store) -> None:
        """Many callers may wait for the same session."""
        add_account(store)
        one, two = start(store, 1), start(store, 2)
        assert store.read_sessions([one, two, one]).keys() == {one, two}
        assert store.read_sessions([one] * READ_AT_ONCE).keys() == {one}

    def test_only_unknown_sessions(self, store: Store) -> None:
        """A digest is compared whole: no prefix, nothing longer, not even empty."""
        add_account(store)
        one = start(store, 1)
        assert dict(store.read_sessions([one[:31], one + b"\0", b"", one.hex().encode()])) == {}

    def test_a_session_comes_with_what_a_validation_answers(self, store: Store) -> None:
        """Account and WeChat user, which the row holds copies of."""
        add_account(store, username="zhangsan", display_name="张三")
        session = start(store, "handle", username="zhangsan", display_name="张三", unionid="uOne")
        expected = SessionRecord(
            digest=session,
            handle="handle",
            app_id=APP,
            openid=OPENID,
            login_at=NOW,
            last_seen_at=NOW,
            ended_at=None,
            ended_cause=None,
            account_source="local",
            account_id="1",
            username="zhangsan",
            display_name="张三",
            unionid="uOne",
        )
        assert store.read_sessions([session]) == {session: expected}
        assert session_of(store, session) == expected

    def test_a_dead_session_is_read_with_its_cause(self, store: Store) -> None:
        """Also when its binding has gone, and without names where there are none."""
        add_account(store)
        bind(store, unionid="uOne")
        session = start(store, "a")
        store.write(lambda tx: end_session(tx, session, Cause.UNBOUND, now_ms=NOW + 1))
        store.write(lambda tx: delete_binding(tx, APP, OPENID))
        record = store.read_sessions([session])[session]
        assert (record.ended_at, record.ended_cause) == (NOW + 1, "UNBOUND")
        assert (record.username, record.display_name, record.unionid) == (None, None, None)

    def test_a_unionid_reaches_the_live_sessions_of_its_user(self, store: Store) -> None:
        """Of this app only: the same openid in two apps are two users (row 26)."""
        add_account(store)
        live, other_user = start(store, 1), start(store, 2, openid="oOther")
        other_app, dead = start(store, 3, app_id=OTHER_APP), start(store, 4)
        store.write(lambda tx: end_session(tx, dead, Cause.LOGOUT, now_ms=NOW + 1))
        store.write(lambda tx: update_unionid(tx, APP, OPENID, "uOne"))
        found = store.read_sessions([live, other_user, other_app, dead])
        unionids = [found[key].unionid for key in (live, other_user, other_app, dead)]
        assert unionids == ["uOne", None, None, None]

    @pytest.mark.parametrize("text", AWKWARD_TEXTS)
    def test_texts_come_back_as_they_are(self, store: Store, text: str) -> None:
        """Whatever a name holds, in every way that it is read."""
        add_account(store, text, username=text, display_name=text)
        session = start(
            store,
            text,
            openid=text,
            account=("local", text),
            app_id=text,
            username=text,
            display_name=text,
            unionid=text,
        )
        record = store.read_sessions([session])[session]
        assert record == session_of(store, session)
        assert record[1:4] == (text, text, text)
        assert record[9:] == (text, text, text, text)

    @pytest.mark.parametrize("value", [0, 1, 2**31, 2**53 + 1, LARGEST, -LARGEST - 1])
    def test_integers_come_back_exactly(self, store: Store, value: int) -> None:
        """All of 64 bits, no rounding through a floating-point number."""
        add_account(store, now_ms=value)
        session = start(store, "a", now_ms=value)
        record = store.read_sessions([session])[session]
        assert (record.login_at, record.last_seen_at) == (value, value)
        assert account_of(store).created_at == value

    @pytest.mark.parametrize("key", [b"\0" * 32, b"\xff" * 32, bytes(range(32)), b"'\"\\%_" * 6])
    def test_digests_are_bytes(self, store: Store, key: bytes) -> None:
        """No byte of a digest means anything."""
        add_account(store)
        store.write(
            lambda tx: insert_session(
                tx,
                SessionRecord.beginning(
                    digest=key,
                    handle="h",
                    app_id=APP,
                    openid=OPENID,
                    account=ACCOUNT,
                    now_ms=NOW,
                ),
                client_address="192.0.2.1",
            )
        )
        assert store.read_sessions([key, b"\1" * 32]).keys() == {key}
