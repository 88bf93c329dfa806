"""bcrypt hashes of other systems: which are taken over, and what a password is to them."""

from __future__ import annotations

import pytest

from tests.unit.hashers import FORM, MALFORMED, bcrypt_hash, hasher
from wxauth_server.accounts.passwords import PasswordRefused, is_malformed, pepper_id_of, take_over

# From the test program of crypt_blowfish (Openwall, public domain).
VECTORS = [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    (
        (
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
            "0123456789chars after 72 are ignored"
        ),
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
    ),
]


@pytest.mark.parametrize(("password", "made"), VECTORS)
@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_published_vectors(password: str, made: str, prefix: str) -> None:
    stored = take_over(made.replace("$2a$", f"${prefix}$"))
    assert stored == f"bcrypt$${made.replace('$2a$', f'${prefix}$')}"
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, "x" + password)
    assert (pepper_id_of(stored), is_malformed(stored)) == ("", False)


def test_the_broken_prefix_is_refused_with_its_reason() -> None:
    for before in ("", "bcrypt$", "{bcrypt}", "bcrypt_sha256$"):
        with pytest.raises(PasswordRefused, match=r"\$2x\$"):
            take_over(before + FORM.replace("$2b$", "$2x$"))


@pytest.mark.parametrize("cost", ["04", "05", "10", "12", "14"])
def test_costs_that_are_taken_over(cost: str) -> None:
    made = f"$2b${cost}$" + "." * 53
    assert take_over(made) == f"bcrypt$${made}"


@pytest.mark.parametrize("made", MALFORMED)
def test_what_is_no_bcrypt_hash_is_not_taken_over(made: str) -> None:
    with pytest.raises(PasswordRefused) as refusal:
        take_over(made)
    assert len(made) < 3 or made not in str(refusal.value)


@pytest.mark.parametrize(
    "password",
    [
        "密" * 24 + "码",  # cut between two characters
        "a" + "密" * 24,  # cut inside one
        "aa" + "\U0001f600" * 18,
        "\U0001f600" * 19,
        "a" * 73,
    ],
)
def test_the_cut_is_that_of_the_old_systems(password: str) -> None:
    """72 bytes, wherever that is in a character."""
    raw = password.encode()
    assert len(raw) > 72
    stored = take_over(bcrypt_hash(raw[:72]))
    assert hasher().verify(stored, password)
    assert hasher().verify(stored, password + "and more"), "they never saw the rest"
    assert not hasher().verify(stored, "b" + password[1:])


def test_the_seventy_second_byte_counts() -> None:
    stored = take_over(bcrypt_hash(b"a" * 72))
    assert hasher().verify(stored, "a" * 72)
    assert not hasher().verify(stored, "a" * 71)
    assert not hasher().verify(stored, "a" * 71 + "b")


def test_a_foreign_password_is_raw_bytes() -> None:
    """The old system did not normalise, so neither does the check against its hash."""
    stored = take_over(bcrypt_hash("cafe\u0301".encode()))
    assert hasher().verify(stored, "cafe\u0301")
    assert not hasher().verify(stored, "café")
