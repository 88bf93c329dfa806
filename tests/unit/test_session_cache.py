"""The rules of the session cache, one by one; test_session_cache_second: what they add up to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wxauth_client import session_cache
from wxauth_client.lease import Fill
from wxauth_client.revocations import LogPart, Revocation
from wxauth_client.session_cache import SessionCache

Cache = SessionCache[str]
HERE = b"here"
ONE, TWO, NEW = b"one", b"two", b"new"


def empty(*, max_sessions: int = 100, lag_s: float = 0.0) -> Cache:
    """A cache with an empty log at time 0, and a lease until 1000.9 s."""
    cache = Cache(lease_s=0.9, authority_lag_s=lag_s, max_sessions=max_sessions)
    cache.reset(HERE, 0.0)
    assert cache.apply(LogPart(HERE, HERE, as_of_s=1000.0), 1000.0)
    return cache


def kept(
    cache: Cache,
    digest: bytes,
    began_s: float = 1.0,
    *,
    app_id: str = "wxa",
    login_at_ms: int = 100,
    reuse_for_s: float = 5000.0,
) -> bool:
    return cache.store(
        Fill(began_s),
        digest,
        digest.decode(),
        app_id=app_id,
        login_at_ms=login_at_ms,
        reuse_for_s=reuse_for_s,
    )


def told(cache: Cache, *revocations: Revocation, now_s: float = 5.0) -> None:
    assert cache.apply(LogPart(HERE, HERE, revocations), now_s)


@pytest.fixture
def cache() -> Cache:
    """With two sessions of app wxa."""
    cache = empty()
    assert kept(cache, ONE)
    assert kept(cache, TWO)
    return cache


def answers(cache: Cache, now_s: float = 10.0) -> set[bytes]:
    return {each for each in (ONE, TWO, NEW) if cache.look_up(each, now_s) is not None}


def test_the_lease_counts_from_the_read_of_the_log() -> None:
    cache = Cache(lease_s=0.9, authority_lag_s=0.0, max_sessions=9)
    assert not kept(cache, ONE), "it knows no place in the log"
    cache.reset(HERE, 0.0)
    assert kept(cache, ONE)
    assert answers(cache, 1.5) == set(), "a place is no lease"
    assert cache.apply(LogPart(HERE, b"there", as_of_s=1.0), 1.4)
    assert cache.look_up(ONE, 1.899) == "one"
    assert answers(cache, 1.9) == set()
    assert cache.token == b"there"
    assert cache.lease_end_s == 1.9


@pytest.mark.parametrize(
    ("as_of_s", "end_s"),
    [
        (None, 1000.9),  # more of the log is to come
        (999.0, 1000.9),  # an older part does not shorten it
        (1002.0, 1002.4),  # a part of 1001.5 s cannot be as of later
    ],
)
def test_what_extends_a_lease(as_of_s: float | None, end_s: float) -> None:
    cache = empty()
    assert cache.apply(LogPart(HERE, HERE, as_of_s=as_of_s), 1001.5)
    assert cache.lease_end_s == pytest.approx(end_s)


def test_a_part_that_does_not_follow_changes_nothing(cache: Cache) -> None:
    part = LogPart(b"elsewhere", b"there", [Revocation(ONE)], as_of_s=2000.0)
    assert not cache.apply(part, 2000.0)
    assert answers(cache) == {ONE, TWO}
    assert (cache.token, cache.lease_end_s) == (HERE, 1000.9)


@pytest.mark.parametrize(
    ("revocation", "left"),
    [
        (Revocation(ONE), {TWO, NEW}),
        (Revocation(app_id="wxa", login_by_ms=100), {NEW}),
        (Revocation(app_id="wxa", login_by_ms=99), {ONE, TWO, NEW}),
        (Revocation(app_id="wxb", login_by_ms=100), {ONE, TWO, NEW}),
        (Revocation(app_id="", login_by_ms=100), {NEW}),
    ],
)
@pytest.mark.parametrize("tell", [told, lambda cache, each: cache.revoke([each], 5.0)])
def test_what_an_entry_ends(
    cache: Cache,
    tell: Callable[[Cache, Revocation], None],
    revocation: Revocation,
    left: set[bytes],
) -> None:
    """In the cache, and of what comes later."""
    kept(cache, NEW, login_at_ms=101)
    tell(cache, revocation)
    assert answers(cache) == left
    ended = empty()
    tell(ended, revocation)
    assert {each for each in (ONE, TWO) if kept(ended, each, 4.0)} == left - {NEW}
    assert kept(ended, NEW, 4.0, login_at_ms=101)


def test_an_older_end_of_an_app_undoes_no_newer_one(cache: Cache) -> None:
    told(cache, Revocation(app_id="wxa", login_by_ms=100), Revocation(login_by_ms=50))
    told(cache, Revocation(app_id="wxa", login_by_ms=50))
    assert answers(cache) == set()


def test_a_reset_forgets_everything(cache: Cache) -> None:
    kept(cache, NEW, app_id="wxb")
    told(cache, Revocation(app_id="wxa", login_by_ms=200))
    cache.reset(b"there", 20.0)
    assert cache.lease_end_s < 0
    assert cache.apply(LogPart(b"there", b"there", as_of_s=20.0), 20.0)
    assert answers(cache, 20.1) == set()
    assert not kept(cache, ONE, 20.0), "asked when the place was named, or before"
    assert kept(cache, ONE, 20.1)
    assert kept(cache, TWO, 20.1, app_id="wxb")
    assert answers(cache, 20.2) == {ONE, TWO}


def test_after_a_reset_a_server_may_know_less() -> None:
    cache = empty(lag_s=0.6)
    cache.reset(HERE, 20.0)
    assert not kept(cache, ONE, 20.6)
    assert kept(cache, ONE, 20.61)


def test_a_slow_answer_is_kept_while_all_that_it_missed_is_known(cache: Cache) -> None:
    told(cache, Revocation(NEW), now_s=5.0)
    told(cache, now_s=15.0)
    assert not kept(cache, NEW, 4.0), "it is remembered for 10 s"
    assert kept(cache, ONE, 4.0)
    told(cache, now_s=15.1)
    assert not kept(cache, ONE, 4.0), "it is forgotten, and could be this one"
    assert kept(cache, NEW, 5.1)


def test_more_revocations_than_are_remembered(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cache, "MOST_REMEMBERED", 3)
    cache = empty()
    for second in range(5):
        told(cache, Revocation(b"%d" % second), now_s=10.0 + second)
    assert not kept(cache, ONE, 11.0), "the second one is forgotten"
    assert kept(cache, ONE, 11.1)
    assert not kept(cache, b"2", 11.1)


def test_reuse_counts_from_the_beginning_of_the_fill(cache: Cache) -> None:
    assert kept(cache, NEW, 2.0, reuse_for_s=3.0)
    assert cache.look_up(NEW, 4.999) == "new"
    assert cache.look_up(NEW, 5.0) is None
    assert not kept(cache, NEW, 2.0, reuse_for_s=0.0)


@pytest.mark.parametrize("most", [1, 2, 50])
def test_it_holds_so_many_and_no_more(most: int) -> None:
    cache = empty(max_sessions=most)
    for number in range(500):
        assert kept(cache, b"%d" % number)
        cache.look_up(b"%d" % (number - 1), 10.0)
        assert len(cache) <= most


def test_one_that_is_stored_again_and_again_takes_one_place() -> None:
    cache = empty(max_sessions=50)
    for number in range(49):
        kept(cache, b"%d" % number)
    for _ in range(100):
        kept(cache, ONE)
    assert all(cache.look_up(b"%d" % number, 10.0) for number in range(49))


def test_the_revoked_take_no_place_for_long() -> None:
    cache = empty(max_sessions=50)
    for number in range(500):
        kept(cache, b"%d" % number)
        cache.revoke([Revocation(b"%d" % number)], 2.0)
    assert len(cache._order) <= 50


def test_who_is_asked_for_stays() -> None:
    cache = empty(max_sessions=50)
    kept(cache, ONE)
    for number in range(500):
        assert cache.look_up(ONE, 10.0) is not None, number
        kept(cache, b"%d" % number)


def test_the_dead_make_room() -> None:
    """Also what nobody asks for again, as far as others come."""
    cache = empty(max_sessions=1000)
    for number in range(900):
        kept(cache, b"%d" % number, reuse_for_s=10.0)
    assert kept(cache, ONE, 12.0)
    for number in range(150):
        kept(cache, b"later %d" % number, 12.0)
    assert len(cache) == 151


def test_what_comes_between_the_steps_of_a_look_up(cache: Cache) -> None:
    """A thread that was stopped in the middle does not join old answer and new lease."""

    class Interrupted(dict[bytes, session_cache._Session[str]]):
        def get(self, *of: object) -> session_cache._Session[str] | None:  # type: ignore[override]
            found = super().get(*of)  # type: ignore[call-overload]
            cache.apply(LogPart(HERE, HERE, [Revocation(ONE)], as_of_s=1005.0), 1005.0)
            return found  # type: ignore[no-any-return]

    cache._sessions = Interrupted(cache._sessions)
    assert cache.look_up(ONE, 1001.0) is None, "its lease was over when it began"
    assert cache.look_up(ONE, 1000.8) == "one", "and this one's was not"
    assert cache.look_up(ONE, 1001.0) is None


def test_room_for_none() -> None:
    with pytest.raises(ValueError, match="one session"):
        empty(max_sessions=0)
