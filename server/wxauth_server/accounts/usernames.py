"""Usernames: which spellings are the same name.

RFC 8265 UsernameCaseMapped: width and case do not matter, look-alike marks and
invisible characters are refused. The name is shown as it was registered.
"""

from __future__ import annotations

import re

from precis_i18n import get_profile

#: Most bytes of a username in UTF-8; the contract's limit.
MAX_USERNAME_BYTES = 256

_PROFILE = get_profile("UsernameCaseMapped")
# What the profile makes of these is known without asking it, which takes 50 times
# as long: every one is allowed, and letters become small ones.
_PRINTABLE_ASCII = re.compile("[!-~]+")


def username_key(username: str) -> str | None:
    """The form that is unique, or None if the profile refuses the name."""
    if _PRINTABLE_ASCII.fullmatch(username):
        return username.lower()
    try:
        key: str = _PROFILE.enforce(username)
    except UnicodeEncodeError:  # how precis_i18n refuses; its text holds the name
        return None
    return key
