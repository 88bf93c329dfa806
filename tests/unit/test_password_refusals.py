"""Refusals of passwords: whatever is stored, and how much work each is."""

from __future__ import annotations

import hashlib

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.hashers import FORM, MALFORMED, WRITERS, bcrypt_hash, hasher
from wxauth_server.accounts.passwords import (
    derived_hashes,
    is_foreign_malformed,
    is_malformed,
    pepper_id_of,
    take_over,
)


def test_no_stored_hash_never_matches() -> None:
    for password in ("", "x", "\0", "correct horse"):
        assert not hasher().verify(None, password)


#: As others wrote them, and as we store them.
HASHES_OF_RIGHT = [
    spelling
    for write in WRITERS.values()
    for made in [write("right")]
    for spelling in (made, take_over(made))
]

STORED_BADLY = [
    *(stored.replace("$$", "$pepper-1$", 1) for stored in HASHES_OF_RIGHT[1::2]),
    *(stored[:-1] for stored in HASHES_OF_RIGHT[1::2]),
    *(f"{scheme}$$" for scheme in ("bcrypt_sha256", "pbkdf2_sha256", "scrypt", "argon2id")),
    *MALFORMED,
    *(f"bcrypt$${made}" for made in MALFORMED),
    *(f"bcrypt-hmac-sha256$pepper-1${made}" for made in MALFORMED),
    FORM,
    "$",
    "$$",
    "$$$",
    "bcrypt",
    "bcrypt$",
    f"argon2id$${FORM}",
    f"BCRYPT$${FORM}",
]


# Numbered: some hold a random salt, and every process must name its tests alike.
@pytest.mark.parametrize("stored", STORED_BADLY, ids=range(len(STORED_BADLY)))
def test_a_malformed_hash_is_refused_and_never_raises(stored: str) -> None:
    """Row 22: whatever somebody wrote into the column."""
    assert is_malformed(stored)
    assert not hasher().verify(stored, "right")
    assert hasher().needs_rehash(stored)


costs = st.sampled_from(["04", "05", "00", "03", "15", "31", "99", "\u0660\u0664", "4", "-1"])
salts = st.text("./Aaz09OeuZ+=\u0660", min_size=52, max_size=54)
near_misses = st.builds(
    "{}${}${}${}${}".format,
    st.sampled_from(["bcrypt", "bcrypt-hmac-sha256", "argon2id", ""]),
    st.sampled_from(["", "pepper-1", "pepper-2"]),
    st.sampled_from(["$2a", "$2b", "$2y", "$2x", "2b", "$2"]),
    costs,
    salts,
)


@given(stored=st.text() | near_misses, password=st.text())
@settings(max_examples=75, deadline=None)
def test_no_stored_text_raises_or_matches(stored: str, password: str) -> None:
    assert not hasher().verify(stored, password)
    assert not hasher().verify_foreign(stored, password)
    assert isinstance(is_malformed(stored), bool)
    assert isinstance(is_foreign_malformed(stored), bool)
    assert isinstance(pepper_id_of(stored), str)
    hasher().needs_rehash(stored)


# No digit is among them that turns a cost of 4 into one of 14.
scraps = st.text("05aZ./+=$:,{ -\n\0密\ud800", max_size=2)


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """A hash of "right" with one place of it replaced, cut out, lengthened or cut off."""
    text = draw(st.sampled_from(HASHES_OF_RIGHT))
    start = draw(st.integers(0, len(text)))
    end = draw(st.sampled_from([start, start + 1, len(text)]))
    return text[:start] + draw(scraps) + text[end:]


@given(stored=mutations())
@settings(max_examples=50, deadline=None)
def test_no_mutation_raises_or_lets_another_password_in(stored: str) -> None:
    for password in ("wrong", ""):
        assert not hasher().verify(stored, password)
        assert not hasher().verify_foreign(stored, password)
    hasher().verify(stored, "right")
    hasher().verify_foreign(stored, "right")


OURS = 7


def taken_over(password: bytes, cost: int) -> str:
    return take_over(bcrypt_hash(password, cost=cost))


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of every bcrypt from now on."""
    counted: list[int] = []
    checkpw = bcrypt.checkpw

    def spy(password: bytes, hashed: bytes) -> bool:
        counted.append(2 ** int(hashed[4:6]))
        return checkpw(password, hashed)

    def unexpected(*_: object) -> bytes:
        raise AssertionError("a check does not hash")

    monkeypatch.setattr(bcrypt, "checkpw", spy)
    monkeypatch.setattr(bcrypt, "hashpw", unexpected)
    return counted


@pytest.fixture
def no_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no key may be derived."""

    def unexpected(*_: object, **__: object) -> bytes:
        raise AssertionError("this hash is not worth any work")

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", unexpected)
    monkeypatch.setattr(hashlib, "scrypt", unexpected)
    monkeypatch.setattr(derived_hashes, "hash_secret_raw", unexpected)


SALT_AND_KEY = "c2FsdHNhbHQ$" + "A" * 43

REFUSED = {
    "no such account": (None, True),
    "no password": (None, False),
    "empty": ("", True),
    "locked by hand": ("!", True),
    "not a hash": ("bcrypt$$nonsense", True),
    "days of work": ("bcrypt$$$2b$31$" + "." * 53, True),
    "unknown scheme": (f"argon2id$${FORM}", True),
    "unknown pepper": (f"bcrypt-hmac-sha256$pepper-9${FORM}", True),
    "unknown pepper, disabled": (f"bcrypt-hmac-sha256$pepper-9${FORM}", False),
    "too much memory": ("argon2id$$$argon2id$v=19$m=4194304,t=1,p=1$" + SALT_AND_KEY, True),
    "minutes of work": ("pbkdf2_sha256$$900000000$salt$" + "A" * 43 + "=", True),
    "not ASCII": ("scrypt$$32:8:1$密$" + "0" * 128, True),
    **{f"ours {cost}, wrong": (hasher(cost=cost).hash("other"), True) for cost in (4, 5, 7)},
    **{f"ours {cost}, disabled": (hasher(cost=cost).hash("right"), False) for cost in (4, 6, 7)},
    **{f"foreign {cost}, wrong": (taken_over(b"other", cost), True) for cost in (4, 6, 7)},
    **{f"foreign {cost}, disabled": (taken_over(b"right", cost), False) for cost in (4, 5, 7)},
    "foreign bcrypt_sha256, wrong": (take_over(WRITERS["bcrypt_sha256, Django"]("other")), True),
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_refusal_is_the_same_work(case: str, rounds: list[int], no_derivation: None) -> None:
    """Rows 20 and 22: 2**cost rounds, whoever is refused for whatever reason, and no more."""
    stored, allowed = REFUSED[case]
    ours = hasher(cost=OURS)
    rounds.clear()
    assert not ours.verify(stored, "right", allowed=allowed)
    assert sum(rounds) == 2**OURS


@pytest.mark.parametrize("allowed", [True, False])
def test_only_a_foreign_hash_of_a_higher_cost_is_more_work(
    rounds: list[int], allowed: bool
) -> None:
    stored = "bcrypt$$" + "$2b$09$" + "." * 53
    assert not hasher(cost=OURS).verify(stored, "right", allowed=allowed)
    assert rounds == [2**9]


def test_success_is_one_check(rounds: list[int]) -> None:
    assert hasher(cost=OURS).verify(REFUSED["foreign 5, disabled"][0], "right")
    assert rounds == [2**5]


UNREADABLE = {
    "none": None,
    "no password in Django": "!kXq0zJ3vYb",
    "empty": "",
    "MD5": "5f4dcc3b5aa765d61d8327deb882cf99",
    "days of work": "$2b$31$" + "." * 53,
    "our stored form": take_over(FORM),
}


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("case", UNREADABLE)
def test_another_table_without_a_hash_is_the_same_work(
    case: str, allowed: bool, rounds: list[int], no_derivation: None
) -> None:
    """Row 20: also where the hash is in the company's own table."""
    assert not hasher(cost=OURS).verify_foreign(UNREADABLE[case], "right", allowed=allowed)
    assert rounds == [2**OURS]


@pytest.mark.parametrize("allowed", [True, False])
def test_another_kind_is_its_own_work_and_no_bcrypt(rounds: list[int], allowed: bool) -> None:
    """Documented: who guesses can tell it from ours."""
    for writer in ("pbkdf2_sha256, Django", "argon2id", "scrypt, werkzeug"):
        made = WRITERS[writer]("right")
        assert hasher(cost=OURS).verify_foreign(made, "right", allowed=allowed) is allowed
        assert not hasher(cost=OURS).verify_foreign(made, "wrong", allowed=allowed)
    assert rounds == []
