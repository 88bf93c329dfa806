"""Password hashes that other systems wrote: how they are told apart, and how we store them.

What a password is to such a hash is what it was there: its raw UTF-8, not
normalised. The kinds themselves are in bcrypt_hashes.py and derived_hashes.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from wxauth_server.accounts.passwords.bcrypt_hashes import parse_bcrypt, parse_bcrypt_of_sha256
from wxauth_server.accounts.passwords.derived_hashes import (
    parse_argon2id,
    parse_pbkdf2_sha256,
    parse_scrypt,
)
from wxauth_server.accounts.passwords.password_refusals import NoUsablePassword, PasswordRefused


class ForeignKind(Protocol):
    """A hash of a known kind, in its exact form and within our bounds."""

    @property
    def bcrypt_cost(self) -> int | None:
        """It takes 2**cost rounds of bcrypt; None if it is of another kind."""

    def matches(self, password: str) -> bool:
        """Whether this is the hash of `password`. Blocking: up to a second of CPU."""


#: Scheme in the stored form -> how the hash behind it is read.
_SCHEMES: Mapping[str, Callable[[str], ForeignKind]] = {
    "bcrypt": parse_bcrypt,
    "bcrypt_sha256": parse_bcrypt_of_sha256,
    "pbkdf2_sha256": parse_pbkdf2_sha256,
    "scrypt": parse_scrypt,
    "argon2id": parse_argon2id,
}

#: What a hash begins with where it was written, how much of that is not stored,
#: and its scheme.
_SPELLINGS = (
    ("$2", "", "bcrypt"),
    ("bcrypt$$2", "bcrypt$", "bcrypt"),  # Django
    ("{bcrypt}$2", "{bcrypt}", "bcrypt"),  # Spring Security
    ("bcrypt_sha256$$2", "bcrypt_sha256$", "bcrypt_sha256"),  # Django
    ("pbkdf2_sha256$", "pbkdf2_sha256$", "pbkdf2_sha256"),  # Django
    ("scrypt:", "scrypt:", "scrypt"),  # werkzeug
    ("$argon2id$", "", "argon2id"),
    ("argon2$argon2id$", "argon2", "argon2id"),  # Django
)

_TOO_QUICK = "this looks like an MD5 or SHA hash: those are guessed too quickly to be taken over"
#: Kinds that are met in user tables and not taken over, and why.
_REASONS = (
    (
        r"(argon2)?\$argon2[id]\$.*",
        "this is an argon2i or argon2d hash: of the three only argon2id can be taken over",
    ),
    (
        r"(pbkdf2:|pbkdf2_|\$pbkdf2|\{pbkdf2).*",
        "of PBKDF2 hashes only Django's pbkdf2_sha256$iterations$salt$key can be taken over",
    ),
    (
        r"(scrypt\$|\$scrypt\$|\$7\$|\{scrypt).*",
        "of scrypt hashes only werkzeug's scrypt:N:r:p$salt$key can be taken over",
    ),
    (r"(\$1\$|\$apr1\$|\$5\$|\$6\$|md5|sha1|sha256|sha512).*", _TOO_QUICK),
    (r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128}", _TOO_QUICK),
)


def take_over(foreign: str) -> str:
    """The stored form of a hash that another system wrote, recognised by its text.

    That is bcrypt, argon2id, Django's pbkdf2_sha256 and bcrypt_sha256, and scrypt
    as werkzeug writes it. Quick: no password is hashed.
    Raises: NoUsablePassword for what begins with "!", which is how Django says
    that there is no password; PasswordRefused for any other text, and for a hash
    whose parameters are out of bounds.
    """
    if foreign.startswith("!"):
        raise NoUsablePassword("the other system says that this user has no password")
    for beginning, dropped, scheme in _SPELLINGS:
        if foreign.startswith(beginning):
            hashed = foreign.removeprefix(dropped)
            _SCHEMES[scheme](hashed)
            return f"{scheme}$${hashed}"
    for form, reason in _REASONS:
        if re.fullmatch(form, foreign, re.DOTALL):
            raise PasswordRefused(reason)
    raise PasswordRefused(
        "this is no bcrypt hash, nor one of argon2id, of Django's pbkdf2_sha256 or"
        " bcrypt_sha256, or scrypt as werkzeug writes it"
    )


def is_foreign_malformed(foreign: str) -> bool:
    """Whether `take_over` refuses a hash for another reason than that there is no password."""
    try:
        take_over(foreign)
    except NoUsablePassword:
        return False
    except PasswordRefused:
        return True
    return False


def read_foreign(scheme: str, hashed: str) -> ForeignKind | None:
    """The hash that is stored under a foreign scheme; None if it is malformed."""
    parse = _SCHEMES.get(scheme)
    if parse is None:
        return None
    try:
        return parse(hashed)
    except PasswordRefused:
        return None
