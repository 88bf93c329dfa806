"""Which passwords can be set."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest

from tests.unit.hashers import hasher
from wxauth_server.accounts.passwords import PasswordRefused, check_new_password
from wxauth_server.accounts.passwords.new_passwords import blocklist


@pytest.mark.parametrize(
    "password",
    [
        "83619427",
        "密" * 8,
        "correcthorse",
        "ZHANGSAN ",
        "        ",
        "#!?-_/\\^",
        "每天早上六点半起床",
        "пароль и точка",
        "\U0001f600" * 8,
        "a" * 256,
        "密" * 256,
        "\U0001f600" * 256,
        "e\u0301" * 8,
        "e\u0301" * 256,
    ],
)
def test_any_characters_will_do(password: str) -> None:
    """ASVS 6.2.5: no rule of composition."""
    check_new_password(password, ["zhangsan", "Ｙｏｙｏ"])


def test_sixty_four_han_characters_count_to_the_last() -> None:
    """Row 21."""
    password = "密" * 63 + "码"
    check_new_password(password)
    stored = hasher().hash(password)
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, password[:-1] + "密")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "8 characters"),
        ("1234567", "8 characters.*15 are recommended"),
        ("e\u0301" * 7, "8 characters"),
        ("a" * 257, "256 characters"),
        ("\U0001f600" * 257, "256 characters"),
        ("\u1112\u1161\u11ab" * 114, "1024 bytes"),  # 114 characters, 1,026 bytes
        ("12345678\0", "NUL"),
        ("\0" * 8, "NUL"),
        ("12345678\ud800", "UTF-8"),
        ("\udcff" * 8, "UTF-8"),
        ("a" * 1_000_000, "1024 bytes"),
        ("PassWord", "common"),
        ("12345678", "common"),
        ("QWERTYuiop", "common"),
        ("ſunſhine", "common"),
        ("pA55w0rd", "common"),
        ("television", "single word"),
        ("WxAuth2026", "name of the service"),
        ("0000wxauth", "name of the service"),
    ],
)
def test_passwords_that_cannot_be_set(password: str, why: str) -> None:
    """With the reason, without the password: a half surrogate too, which no client can send."""
    with pytest.raises(PasswordRefused, match=why) as refusal:
        check_new_password(password)
    assert len(password) < 7 or password not in repr(refusal.value)


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("zhangsan", "zhangsan"),
        ("ZhangSan", "zhangsan"),
        ("zhangsan1988", "zhangsan"),
        ("88zhangsan88", "ZHANGSAN"),
        ("zhangsan1988", "zhangsan7"),
        ("13800138000", "13800138000"),
        ("张三12345678", "张三"),
        ("cafe\u03011234", "CAFÉ"),
        ("STRASSE99", "straße"),
    ],
)
def test_what_an_attacker_knows_is_no_password(password: str, word: str) -> None:
    with pytest.raises(PasswordRefused, match="username") as refusal:
        check_new_password(password, ["Other", "", word])
    assert password not in str(refusal.value)
    check_new_password(password)


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("138001380001", "13800138000"),
        ("xzhangsan88", "zhangsan"),
        ("zhang1988san", "zhangsan"),
        ("zhangsan-1988", "zhangsan"),
        ("94617283", "1"),
        ("94617283", ""),
    ],
)
def test_what_only_contains_a_word_can_be_set(password: str, word: str) -> None:
    check_new_password(password, [word])


def test_the_blocklist_is_long_and_can_match() -> None:
    """Row 21: 10,000 passwords at least, not counting those too short to be set."""
    assert len(blocklist()) >= 10_000
    for word in blocklist():
        assert len(word) >= 8
        assert word == unicodedata.normalize("NFC", word.casefold())


def test_every_listed_password_is_refused() -> None:
    for word in sorted(blocklist())[::500]:
        with pytest.raises(PasswordRefused):
            check_new_password(word.upper())


def test_a_server_starts_without_the_blocklist() -> None:
    """It takes 15 MB, and many servers never set a password."""
    code = (
        "import sys, wxauth_server.wiring;"
        "import wxauth_server.accounts.passwords.new_passwords as new;"
        "assert not [name for name in sys.modules if name.startswith('zxcvbn')];"
        "new.check_new_password('correct horse'); assert 'zxcvbn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
