"""Which spellings are the same username (reliability.md row 23)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from precis_i18n import get_profile

from wxauth_server.accounts.usernames import username_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Admin", "admin"),
        ("ADMIN", "admin"),
        ("ａｄｍｉｎ", "admin"),
        ("ＡＤＭＩＮ", "admin"),
        ("ÉCOLE", "e\u0301cole"),
        ("Ångström", "A\u030angstro\u0308m"),
        ("ｱｲ", "アイ"),
        ("ИВАН", "иван"),
    ],
)
def test_one_account(one: str, other: str) -> None:
    assert username_key(one) is not None
    assert username_key(one) == username_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u0430dmin", "admin"),  # Cyrillic; a rule against mixed scripts is another matter
        ("admin1", "adminl"),
        ("張三", "张三"),
        ("straße", "strasse"),
        ("a.b", "ab"),
    ],
)
def test_two_accounts(one: str, other: str) -> None:
    assert username_key(one) is not None
    assert username_key(other) is not None
    assert username_key(one) != username_key(other)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ad\u200dmin",  # zero width joiner
        "ad\u200bmin",  # zero width space
        "ad\u202emin",  # right-to-left override
        "ad\u2066min",
        "ad\0min",
        "ad\x1b[31mmin",
        "ad\nmin",
        "ad\x85min",
        "ad min",
        " admin",
        "admin ",
        "ad\u3000min",
        "ad\u00a0min",
        "of\ufb01ce",  # ligature
        "\U0001f600",
        "a\u00b2",
        "\ud800",
        "\ufeffadmin",
        "\U000e0061admin",  # tag character
        "ad\u00admin",  # soft hyphen
        "\uffff",
    ],
)
def test_refused(name: str) -> None:
    assert username_key(name) is None


@pytest.mark.parametrize(
    "name", ["zhangsan", "张三", "a@b.example", "+8613800138000", "10001", "가나"]
)
def test_usual_names_are_their_own_key(name: str) -> None:
    assert username_key(name) == name


@given(st.text())
def test_no_name_raises_and_a_key_is_its_own_key(name: str) -> None:
    key = username_key(name)
    if key is not None:
        assert key
        assert username_key(key) == key


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_ascii_names_are_what_the_profile_makes_of_them(name: str) -> None:
    """Without asking it: an import has a million of them."""
    try:
        key = get_profile("UsernameCaseMapped").enforce(name)
    except UnicodeEncodeError:
        key = None
    assert username_key(name) == key


def test_each_printable_ascii_character_is_what_the_profile_makes_of_it() -> None:
    profile = get_profile("UsernameCaseMapped")
    names = [chr(code) for code in range(0x21, 0x7F)]
    assert [username_key(name) for name in names] == [profile.enforce(name) for name in names]
