"""Hashes of other systems, made by their real libraries: read, checked, and told apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.hashers import FORM, WRITERS, hasher
from wxauth_server.accounts.passwords import (
    NoUsablePassword,
    PasswordRefused,
    is_foreign_malformed,
    is_malformed,
    pepper_id_of,
    take_over,
)

PASSWORDS = ["correct horse", "", " ", "密码 \U0001f600", "cafe\u0301", "\u212b", "a" * 72]

#: Those that do not stop at 72 bytes.
WHOLE = [name for name in WRITERS if not name.startswith("bcrypt ") and "bcrypt," not in name]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_foreign_password_still_works(writer: str, password: str) -> None:
    made = WRITERS[writer](password)
    stored = take_over(made)
    assert (pepper_id_of(stored), is_malformed(stored)) == ("", False)
    assert not is_foreign_malformed(made)
    for wrong in {"", password + "x", "x" + password[1:]} - {password}:
        if len(wrong) <= 72:
            assert not hasher().verify(stored, wrong)
            assert not hasher().verify_foreign(made, wrong)
    for allowed in (True, False):
        assert hasher().verify(stored, password, allowed=allowed) is allowed
        assert hasher().verify_foreign(made, password, allowed=allowed) is allowed


@pytest.mark.parametrize("writer", WRITERS)
def test_a_foreign_password_is_not_normalised(writer: str) -> None:
    """None of those systems does, so what differs there differs here."""
    stored = take_over(WRITERS[writer]("cafe\u0301"))
    assert hasher().verify(stored, "cafe\u0301")
    assert not hasher().verify(stored, "café")


@pytest.mark.parametrize("writer", WHOLE)
def test_a_long_password_counts_to_the_last(writer: str) -> None:
    assert len(WHOLE) == 5
    stored = take_over(WRITERS[writer]("密" * 200))
    assert hasher().verify(stored, "密" * 200)
    assert not hasher().verify(stored, "密" * 199 + "码")


@pytest.mark.parametrize("writer", WHOLE)
@given(password=st.text(), guess=st.text())
@settings(max_examples=10, deadline=None)
def test_any_text_is_a_password_there_too(writer: str, password: str, guess: str) -> None:
    stored = take_over(WRITERS[writer](password))
    assert hasher().verify(stored, password)
    assert hasher().verify(stored, guess) is (guess == password)


@pytest.mark.parametrize(
    ("writer", "scheme"),
    [
        ("bcrypt 2b", "bcrypt$$$2b$04$"),
        ("bcrypt, Spring", "bcrypt$$$2a$04$"),
        ("bcrypt, Django", "bcrypt$$$2b$04$"),
        ("bcrypt_sha256, Django", "bcrypt_sha256$$$2b$04$"),
        ("pbkdf2_sha256, Django", "pbkdf2_sha256$$3$saltsaltsaltsaltsaltsa$"),
        ("argon2id", "argon2id$$$argon2id$v=19$m=8,t=1,p=1$"),
        ("argon2id, Django", "argon2id$$$argon2id$v=19$m=64,t=1,p=8$"),
        ("scrypt, werkzeug", "scrypt$$128:8:1$"),
    ],
)
def test_the_stored_form_is_as_documented(writer: str, scheme: str) -> None:
    """`scheme$pepper_id$hash`, without a pepper."""
    assert take_over(WRITERS[writer]("x")).startswith(scheme)


#: Section 12, for "pleaseletmein" and "SodiumChloride".
RFC_7914_KEY = (
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
)


@pytest.mark.parametrize(
    ("password", "made"),
    [
        # RFC 7914 section 11, whose first block is the whole key here.
        ("passwd", "pbkdf2_sha256$1$salt$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLw="),
        (
            "pleaseletmein",
            "scrypt:16384:8:1$SodiumChloride$" + RFC_7914_KEY,
        ),
        # The test program of the reference implementation of argon2.
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ),
    ],
)
def test_published_vectors(password: str, made: str) -> None:
    assert hasher().verify(take_over(made), password)
    assert not hasher().verify(take_over(made), password + "x")


@pytest.mark.parametrize("made", ["!", "!" + "x" * 40, "!" + FORM])
def test_no_usable_password_is_not_malformed(made: str) -> None:
    """Django's way to say that a user has none; also of a hash that somebody locked so."""
    with pytest.raises(NoUsablePassword, match="has no password"):
        take_over(made)
    assert not is_foreign_malformed(made)
    assert not hasher().verify_foreign(made, "x")


TAG = "$MTIzNDU2Nzg$" + "A" * 43


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("", "no bcrypt hash"),
        ("hunter2 in plain text", "no bcrypt hash"),
        (" !", "no bcrypt hash"),
        ("5f4dcc3b5aa765d61d8327deb882cf99", "MD5 or SHA"),
        ("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8", "MD5 or SHA"),
        ("a" * 64, "MD5 or SHA"),
        ("md5$salt$5f4dcc3b5aa765d61d8327deb882cf99", "MD5 or SHA"),
        ("sha1$salt$5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8", "MD5 or SHA"),
        ("$1$abcdefgh$0123456789012345678901", "MD5 or SHA"),
        ("$6$rounds=5000$salt$hash", "MD5 or SHA"),
        ("$argon2i$v=19$m=64,t=1,p=1" + TAG, "only argon2id"),
        ("$argon2d$v=19$m=64,t=1,p=1" + TAG, "only argon2id"),
        ("argon2$argon2i$v=19$m=64,t=1,p=1" + TAG, "only argon2id"),
        ("pbkdf2:sha256:600000$salt$" + "0" * 64, "only Django's pbkdf2_sha256"),
        ("pbkdf2_sha1$1$salt$hash", "only Django's pbkdf2_sha256"),
        ("scrypt$16384$salt$8$5$hash", "only werkzeug's"),
        ("$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$hash", "only werkzeug's"),
        ("bcrypt_sha256$$2b$15$" + "." * 53, "cost 4 to 14"),
        ("bcrypt$$2b$31$" + "." * 53, "cost 4 to 14"),
        (take_over(FORM), "no bcrypt hash"),
    ],
)
def test_what_is_not_taken_over_and_why(made: str, why: str) -> None:
    with pytest.raises(PasswordRefused, match=why) as refusal:
        take_over(made)
    assert not isinstance(refusal.value, NoUsablePassword)
    assert not made or made not in str(refusal.value)
    assert is_foreign_malformed(made)
    assert not hasher().verify_foreign(made, "x")
