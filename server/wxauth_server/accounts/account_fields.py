"""What the fields of an account may hold, whoever adds it: an operator, an import, a source."""

from __future__ import annotations

import re
import unicodedata

from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES, username_key

#: The limits that the contract states, in bytes of UTF-8.
MAX_ID_BYTES = 128
MAX_DISPLAY_NAME_BYTES = 256

# E.164: a country code, which never begins with 0, and 15 digits in all at most.
# Seven is the shortest that anybody can be reached at from abroad.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
# Control characters, half surrogates, and what some programs take for a line end.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
# What turns the direction of writing, so that one text looks like another.
_DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class AccountRefused(ValueError):
    """An account that cannot be added as it is. The text says why."""


def check_id(account_id: str) -> None:
    """Raises: AccountRefused when this cannot be the id of an account."""
    check_text("id", account_id, MAX_ID_BYTES)


def check_username(username: str) -> str:
    """The form of the username that is unique. Raises: AccountRefused."""
    check_text("username", username, MAX_USERNAME_BYTES)
    key = username_key(username)
    if key is None:
        raise AccountRefused(
            "this username is not allowed: letters, digits and signs, without spaces and "
            "without characters that cannot be told apart (RFC 8265)"
        )
    return key


def check_display_name(display_name: str) -> None:
    """Raises: AccountRefused."""
    check_text("display name", display_name, MAX_DISPLAY_NAME_BYTES)


def check_phone(phone: str | None, *, verified: bool) -> None:
    """Raises: AccountRefused."""
    if phone is not None and _E164.fullmatch(phone) is None:
        raise AccountRefused(
            "a phone number is written as E.164 has it: + and the country code, "
            "then digits only, such as +8613800138000"
        )
    if verified and phone is None:
        raise AccountRefused("there is no phone number that could be verified")


def check_text(what: str, text: str, most_bytes: int) -> None:
    """Raises: AccountRefused for a text that is no name that people can tell from others."""
    if not text:
        raise AccountRefused(f"the {what} is empty")
    # Python counts none of either among the printable ones, and is quick to say so.
    if not text.isprintable():
        if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in text):
            raise AccountRefused(f"the {what} holds a control character or is not UTF-8")
        if not _DIRECTIONS.isdisjoint(text):
            raise AccountRefused(
                f"the {what} holds a character that turns the direction of writing"
            )
    if text != text.strip():
        raise AccountRefused(f"the {what} begins or ends with white space")
    if len(text.encode()) > most_bytes:
        raise AccountRefused(f"the {what} is longer than {most_bytes} bytes of UTF-8")
