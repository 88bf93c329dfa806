"""Password hashes: `scheme$pepper_id$hash`. No store and no account here.

Ours is bcrypt over base64(HMAC-SHA-256(pepper, NFC(password))): bcrypt alone
reads 72 bytes and stops at NUL, so that a pass phrase of 25 Han characters
would not fit; the keyed pre-hash makes 44 characters of any length, and a
stolen database without the key ring cannot be guessed at (reliability.md F6,
F7; NIST SP 800-63B-4 section 3.1.1.2).

The schemes without a pepper are what other systems wrote (foreign_hashes.py);
those hashes are replaced at the next login.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata

import bcrypt

from wxauth_server.accounts.passwords.bcrypt_hashes import (
    bcrypt_cost,
)
from wxauth_server.accounts.passwords.foreign_hashes import (
    read_foreign,
    take_over,
)
from wxauth_server.accounts.passwords.password_refusals import PasswordRefused
from wxauth_server.keyring import KeyRing, Purpose

#: 2**12 rounds; OWASP ASVS 5.0 appendix C approves bcrypt from cost 10.
BCRYPT_COST = 12

_OURS = "bcrypt-hmac-sha256"


class PasswordHasher:
    """Hashes and checks passwords. Blocking: about 0.25 s of CPU each. Thread-safe.

    A hash of another system takes what its parameters say, up to a second and
    128 MiB. `cost` below 10 is for tests only.
    """

    def __init__(self, keyring: KeyRing, *, cost: int = BCRYPT_COST) -> None:
        self._keyring = keyring
        self._cost = cost
        # Never the hash of a password; checking against it costs what ours costs.
        self._nobody = f"$2b${cost:02d}$" + "." * 53
        self._pepper_of_nobody = secrets.token_bytes(32)

    def hash(self, password: str) -> str:
        """The stored form of a password, with our scheme and the active pepper."""
        pepper = self._keyring.active(Purpose.PEPPER)
        hashed = bcrypt.hashpw(_prehash(pepper.secret, password), bcrypt.gensalt(self._cost))
        return f"{_OURS}${pepper.id}${hashed.decode('ascii')}"

    def verify(self, stored: str | None, password: str, *, allowed: bool = True) -> bool:
        """Whether `password` is the one of `stored`, whatever text that is.

        Every refusal takes as long as a check of ours: for no stored hash, for
        one that is malformed, and where `allowed` is False because the account
        may not log in. A foreign bcrypt hash takes as long too, or longer if its
        cost is higher; another foreign hash takes its own time, so who guesses
        can tell it from ours. Raises: MemoryError when the memory that a foreign
        hash needs is not to be had.
        """
        matches, cost = self._compare(stored, password)
        if matches and allowed:
            return True
        if cost is not None:
            self._burn_difference(cost)
        return False

    def verify_foreign(self, foreign: str | None, password: str, *, allowed: bool = True) -> bool:
        """Whether `password` is the one of a hash in another system's own table.

        As `verify`, with the text that `take_over` reads. What it refuses, and no
        text at all, is refused here as a malformed hash is: `is_foreign_malformed`
        tells which, for an alarm.
        """
        try:
            stored = None if foreign is None else take_over(foreign)
        except PasswordRefused:
            stored = None
        return self.verify(stored, password, allowed=allowed)

    def needs_rehash(self, stored: str) -> bool:
        """Whether a hash is not what `hash` would write now."""
        scheme, pepper_id, hashed = _split(stored)
        return (
            scheme != _OURS
            or pepper_id != self._keyring.active(Purpose.PEPPER).id
            or bcrypt_cost(hashed) != self._cost
        )

    def _compare(self, stored: str | None, password: str) -> tuple[bool, int | None]:
        """Whether they match, and at which cost of bcrypt that was found out, if by bcrypt."""
        scheme, pepper_id, hashed = _split(stored)
        if scheme == _OURS:
            cost = bcrypt_cost(hashed)
            pepper = self._keyring.find(Purpose.PEPPER, pepper_id)
            if cost is not None and pepper is not None:
                return bcrypt.checkpw(_prehash(pepper.secret, password), hashed.encode()), cost
        elif not pepper_id and (foreign := read_foreign(scheme, hashed)) is not None:
            return foreign.matches(password), foreign.bcrypt_cost
        bcrypt.checkpw(_prehash(self._pepper_of_nobody, password), self._nobody.encode())
        return False, self._cost

    def _burn_difference(self, cost: int) -> None:
        # 2**c + 2**c + 2**(c+1) + … + 2**(ours-1) = 2**ours rounds in all.
        for step in range(cost, self._cost):
            bcrypt.checkpw(b"x", f"$2b${step:02d}$".encode() + b"." * 53)


def pepper_id_of(stored: str) -> str:
    """The id of the key that a stored hash needs; empty if it needs none."""
    return _split(stored)[1]


def is_malformed(stored: str) -> bool:
    """Whether a stored hash is of no scheme we know: someone wrote it by hand."""
    scheme, pepper_id, hashed = _split(stored)
    if scheme == _OURS:
        return bcrypt_cost(hashed) is None
    return bool(pepper_id) or read_foreign(scheme, hashed) is None


def _prehash(pepper: bytes, password: str) -> bytes:
    normal = unicodedata.normalize("NFC", password).encode()
    return base64.b64encode(hmac.digest(pepper, normal, hashlib.sha256))


def _split(stored: str | None) -> tuple[str, str, str]:
    scheme, _, rest = (stored or "").partition("$")
    pepper_id, _, hashed = rest.partition("$")
    return scheme, pepper_id, hashed
