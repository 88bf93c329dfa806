"""Which passwords can be set: NIST SP 800-63B-4 section 3.1.1.2, ASVS 5.0 section 6.2.

Long ones, of any characters, and none of those that are tried first. No hash here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

from wxauth_server.accounts.passwords.password_refusals import PasswordRefused

#: Longest password, in Unicode code points and in bytes of UTF-8.
MAX_PASSWORD_CHARACTERS = 256
MAX_PASSWORD_BYTES = 1024
#: Shortest one that can be set; NIST SP 800-63B-4 asks for 8 beside another factor.
MIN_PASSWORD_CHARACTERS = 8

_SERVICE_NAME = "wxauth"
_DIGITS = "0123456789"


def password_length(password: str) -> int:
    """How many characters a password counts as: code points of its NFC form."""
    return len(unicodedata.normalize("NFC", password))


def check_new_password(password: str, context: Iterable[str] = ()) -> None:
    """Refuse a password that cannot be set. No rule asks for digits, capitals or signs.

    `context` is what an attacker tries for this account: its username, and the
    words that the operator names, such as the company's. None of them can be
    the password, and neither can the name of this service, whatever the case
    and with whatever ASCII digits before or behind.
    Raises: PasswordRefused.
    """
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise PasswordRefused(
            "a password cannot contain half a surrogate pair: that is no UTF-8"
        ) from None
    if "\0" in password:
        raise PasswordRefused("a password cannot contain NUL")
    # The bytes first: what is megabytes long is not worth normalising.
    if size > MAX_PASSWORD_BYTES or password_length(password) > MAX_PASSWORD_CHARACTERS:
        raise PasswordRefused(
            f"a password has at most {MAX_PASSWORD_CHARACTERS} characters"
            f" and {MAX_PASSWORD_BYTES} bytes"
        )
    if password_length(password) < MIN_PASSWORD_CHARACTERS:
        raise PasswordRefused(
            f"a password needs {MIN_PASSWORD_CHARACTERS} characters or more; 15 are recommended"
        )
    folded = _fold(password)
    if any(_is_made_of(folded, _fold(word)) for word in (_SERVICE_NAME, *context)):
        raise PasswordRefused(
            "a password cannot be the username or the name of the service, nor that and digits"
        )
    if folded in blocklist():
        raise PasswordRefused(
            "this password is a common one or a single word, which is guessed first"
        )


@cache
def blocklist() -> frozenset[str]:
    """Passwords and words that are tried first, case-folded; only those long enough to be set.

    They are the frequency lists of zxcvbn: leaked passwords, words of the English
    Wikipedia and of film and television, names. Blocking: 50 ms at the first call,
    and 15 MB from then on, hence not before a password is set.
    """
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    words = (_fold(word) for listed in FREQUENCY_LISTS.values() for word in listed)
    return frozenset(word for word in words if len(word) >= MIN_PASSWORD_CHARACTERS)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _is_made_of(password: str, word: str) -> bool:
    # What is digits alone, such as a phone number, has no core: then it is the whole that counts.
    core = word.strip(_DIGITS)
    return password == word or (bool(core) and password.strip(_DIGITS) == core)
