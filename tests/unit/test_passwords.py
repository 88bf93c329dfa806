"""Our own password hashes: what matches, and what is hashed anew."""

from __future__ import annotations

import base64
import hashlib
import hmac

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.hashers import COST, PEPPER, WRITERS, hasher, ring
from wxauth_server.accounts.passwords import PasswordHasher, is_malformed, pepper_id_of, take_over


def test_the_stored_form_is_as_documented() -> None:
    """bcrypt over base64(HMAC-SHA-256(pepper, NFC(password))), and both ids in front."""
    stored = hasher().hash("correct horse")
    scheme, pepper_id, hashed = stored.split("$", 2)
    assert (scheme, pepper_id, hashed[:7]) == ("bcrypt-hmac-sha256", "pepper-1", "$2b$04$")
    keyed = base64.b64encode(hmac.new(PEPPER, b"correct horse", hashlib.sha256).digest())
    assert bcrypt.checkpw(keyed, hashed.encode())
    assert pepper_id_of(stored) == "pepper-1"
    assert not is_malformed(stored)


def test_a_hash_of_another_day_still_matches() -> None:
    """A fixed vector: what is stored today must verify in ten years."""
    keyed = base64.b64encode(hmac.new(PEPPER, "密码 café".encode(), hashlib.sha256).digest())
    hashed = bcrypt.hashpw(keyed, b"$2b$04$CCCCCCCCCCCCCCCCCCCCC.").decode()
    assert hashed == "$2b$04$CCCCCCCCCCCCCCCCCCCCC.xD3NNI.spd1QB8erT1ZWG1F7QcJfDHe"
    stored = f"bcrypt-hmac-sha256$pepper-1${hashed}"
    assert hasher().verify(stored, "密码 café")
    assert not hasher().verify(stored, "密码 cafe")


def test_the_same_password_is_never_hashed_alike() -> None:
    one = hasher()
    assert one.hash("correct horse") != one.hash("correct horse")


@pytest.mark.parametrize("length", [8, 25, 64, 73, 200, 256])
@pytest.mark.parametrize("character", ["a", "é", "密", "\U0001f600"])
def test_every_character_counts_to_the_last(character: str, length: int) -> None:
    """Rows 21 and F6: bcrypt alone would stop at 72 bytes."""
    password = character * length
    stored = hasher().hash(password)
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, password[:-1] + "x")
    assert not hasher().verify(stored, password[:-1])
    assert not hasher().verify(stored, password + character)


@pytest.mark.parametrize(
    ("composed", "decomposed"),
    [
        ("café", "cafe\u0301"),
        ("\u00c5", "\u212b"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ],
)
def test_spellings_that_are_the_same_text_are_the_same_password(
    composed: str, decomposed: str
) -> None:
    assert hasher().verify(hasher().hash(composed), decomposed)
    assert hasher().verify(hasher().hash(decomposed), composed)


@pytest.mark.parametrize(("one", "other"), [("ﬁ", "fi"), ("Ａ", "A"), ("²", "2"), ("a", "A")])
def test_spellings_that_only_look_alike_differ(one: str, other: str) -> None:
    """NFC, not NFKC, and case counts."""
    assert not hasher().verify(hasher().hash(one), other)


def test_nul_and_nothing_are_three_passwords() -> None:
    """F7: for bcrypt alone they are one."""
    passwords = ["", "\0", "\0" * 72]
    for password in passwords:
        stored = hasher().hash(password)
        assert [hasher().verify(stored, guess) for guess in passwords] == [
            guess == password for guess in passwords
        ]


def test_without_the_pepper_the_hash_is_worth_nothing() -> None:
    stored = hasher().hash("correct horse")
    assert not hasher(pepper=b"\x01" * 32).verify(stored, "correct horse")
    other_id = PasswordHasher(ring(("pepper-2", PEPPER)), cost=COST)
    assert not other_id.verify(stored, "correct horse")


def test_a_retired_pepper_still_opens_what_is_old() -> None:
    stored = hasher().hash("correct horse")
    rotated = PasswordHasher(ring(("pepper-2", b"\x02" * 32), ("pepper-1", PEPPER)), cost=COST)
    assert rotated.verify(stored, "correct horse")
    assert pepper_id_of(rotated.hash("correct horse")) == "pepper-2"


@given(password=st.text(), guess=st.text())
@settings(max_examples=25, deadline=None)
def test_any_text_is_a_password(password: str, guess: str) -> None:
    stored = hasher().hash(password)
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, password + "x")
    assert not hasher().verify(stored, guess + "\0" + password)


def test_what_we_would_write_now_stays() -> None:
    assert not hasher().needs_rehash(hasher().hash("correct horse"))


@pytest.mark.parametrize(
    "stored",
    [
        hasher(cost=5).hash("correct horse"),
        PasswordHasher(ring(("pepper-0", PEPPER)), cost=COST).hash("correct horse"),
        "",
        "!",
        "bcrypt-hmac-sha256$pepper-1$",
        "argon2id$pepper-1$$2b$04$" + "." * 53,
    ],
    ids=["other cost", "other pepper", "none", "locked", "cut", "other scheme"],
)
def test_everything_else_is_hashed_anew(stored: str) -> None:
    assert hasher().needs_rehash(stored)


@pytest.mark.parametrize("writer", WRITERS)
def test_every_foreign_hash_is_hashed_anew(writer: str) -> None:
    assert hasher().needs_rehash(take_over(WRITERS[writer]("correct horse")))
