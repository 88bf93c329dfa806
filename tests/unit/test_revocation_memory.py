"""The revocations that a cache remembers, with the time from which on it has all."""

from __future__ import annotations

from wxauth_client.revocations import RecentlyRevoked


def remembered(*, most: int = 9) -> RecentlyRevoked:
    revoked = RecentlyRevoked(for_s=10.0, most=most)
    revoked.begin(100.0)
    return revoked


def test_what_comes_again_is_the_newest() -> None:
    """It is kept from then on, and keeps none that is older from being forgotten."""
    revoked = remembered()
    for digest, now_s in ((b"1", 101.0), (b"2", 102.0), (b"1", 110.0)):
        revoked.add(digest, now_s)
    revoked.forget_old(112.5)
    assert (b"1" in revoked, b"2" in revoked) == (True, False)
    assert (len(revoked), revoked.complete_since_s) == (1, 102.0)
    revoked.forget_old(120.5)
    assert (len(revoked), revoked.complete_since_s) == (0, 110.0)


def test_of_too_many_the_oldest_goes() -> None:
    """And with it no time of a newer one, or answers that are new enough were not kept."""
    revoked = remembered(most=2)
    for digest, now_s in ((b"1", 101.0), (b"2", 102.0), (b"1", 103.0), (b"3", 104.0)):
        revoked.add(digest, now_s)
    assert [digest in revoked for digest in (b"1", b"2", b"3")] == [True, False, True]
    assert revoked.complete_since_s == 102.0
