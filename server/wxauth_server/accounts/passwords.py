"""Password hashes: `scheme$pepper_id$hash`. No store and no account here.

Ours is bcrypt over base64(HMAC-SHA-256(pepper, NFC(password))): bcrypt alone
reads 72 bytes and stops at NUL, so that a pass phrase of 25 Han characters
would not fit; the keyed pre-hash makes 44 characters of any length, and a
stolen database without the key ring cannot be guessed at (reliability.md F6,
F7; NIST SP 800-63B-4 section 3.1.1.2).

`bcrypt` without a pepper is what other systems wrote. Its passwords are raw
UTF-8 cut at 72 bytes, as those systems did; they are hashed anew at the next
login.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata

import bcrypt

from wxauth_server.keyring import KeyRing, Purpose

#: 2**12 rounds; OWASP ASVS 5.0 appendix C approves bcrypt from cost 10.
BCRYPT_COST = 12
#: Foreign costs: 14 is a second of CPU here, 31 would be days.
MIN_FOREIGN_COST = 4
MAX_FOREIGN_COST = 14

#: Longest password, in Unicode code points and in bytes of UTF-8.
MAX_PASSWORD_CHARACTERS = 256
MAX_PASSWORD_BYTES = 1024
#: Shortest one that can be set; NIST SP 800-63B-4 asks for 8 beside another factor.
MIN_PASSWORD_CHARACTERS = 8

_OURS = "bcrypt-hmac-sha256"
_FOREIGN_BCRYPT = "bcrypt"
# The 22nd character of the salt carries 2 bits only, hence the short class.
_BCRYPT_FORM = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_BCRYPT_BYTES = 72


class PasswordRefused(ValueError):
    """A password that cannot be set, or a hash that cannot be taken over. Says why."""


def password_length(password: str) -> int:
    """How many characters a password counts as: code points of its NFC form."""
    return len(unicodedata.normalize("NFC", password))


def check_new_password(password: str) -> None:
    """Raises: PasswordRefused when the password cannot be set."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise PasswordRefused(
            "a password cannot contain half a surrogate pair: that is no UTF-8"
        ) from None
    length = password_length(password)
    if "\0" in password:
        raise PasswordRefused("a password cannot contain NUL")
    if length < MIN_PASSWORD_CHARACTERS:
        raise PasswordRefused(
            f"a password needs {MIN_PASSWORD_CHARACTERS} characters or more; 15 are recommended"
        )
    if length > MAX_PASSWORD_CHARACTERS or size > MAX_PASSWORD_BYTES:
        raise PasswordRefused(
            f"a password has at most {MAX_PASSWORD_CHARACTERS} characters"
            f" and {MAX_PASSWORD_BYTES} bytes"
        )


def take_over_bcrypt(foreign: str) -> str:
    """The stored form of a bcrypt hash that another system wrote.

    Raises: PasswordRefused when it is no bcrypt hash of cost 4 to 14, or of the
    broken `$2x$` kind, which hashes some passwords alike.
    """
    if foreign.startswith("$2x$"):
        raise PasswordRefused("$2x$ hashes are of a broken bcrypt and cannot be trusted")
    if _bcrypt_cost(foreign) is None:
        raise PasswordRefused(
            f"this is no bcrypt hash of cost {MIN_FOREIGN_COST} to {MAX_FOREIGN_COST}"
        )
    return f"{_FOREIGN_BCRYPT}$${foreign}"


class PasswordHasher:
    """Hashes and checks passwords. Blocking: about 0.25 s of CPU each. Thread-safe.

    `cost` below 10 is for tests only.
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
        """Whether `password` is the one of `stored`.

        Every refusal takes as long as a check of ours: for no stored hash, for
        one that is malformed, and where `allowed` is False because the account
        may not log in. Only a foreign hash of a higher cost takes longer.
        """
        scheme, pepper_id, hashed = _split(stored)
        cost = _bcrypt_cost(hashed)
        matches = False
        if scheme == _OURS and cost is not None:
            pepper = self._keyring.find(Purpose.PEPPER, pepper_id)
            if pepper is not None:
                matches = bcrypt.checkpw(_prehash(pepper.secret, password), hashed.encode())
            else:
                cost = None
        elif scheme == _FOREIGN_BCRYPT and cost is not None:
            matches = bcrypt.checkpw(password.encode()[:_BCRYPT_BYTES], hashed.encode())
        else:
            cost = None
        if cost is None:
            bcrypt.checkpw(_prehash(self._pepper_of_nobody, password), self._nobody.encode())
            return False
        if matches and allowed:
            return True
        self._burn_difference(cost)
        return False

    def needs_rehash(self, stored: str) -> bool:
        """Whether a hash is not what `hash` would write now."""
        scheme, pepper_id, hashed = _split(stored)
        return (
            scheme != _OURS
            or pepper_id != self._keyring.active(Purpose.PEPPER).id
            or _bcrypt_cost(hashed) != self._cost
        )

    def _burn_difference(self, cost: int) -> None:
        # 2**c + 2**c + 2**(c+1) + … + 2**(ours-1) = 2**ours rounds in all.
        for step in range(cost, self._cost):
            bcrypt.checkpw(b"x", f"$2b${step:02d}$".encode() + b"." * 53)


def pepper_id_of(stored: str) -> str:
    """The id of the key that a stored hash needs; empty if it needs none."""
    return _split(stored)[1]


def is_malformed(stored: str) -> bool:
    """Whether a stored hash is of no scheme we know: someone wrote it by hand."""
    scheme, _, hashed = _split(stored)
    return scheme not in {_OURS, _FOREIGN_BCRYPT} or _bcrypt_cost(hashed) is None


def _prehash(pepper: bytes, password: str) -> bytes:
    normal = unicodedata.normalize("NFC", password).encode()
    return base64.b64encode(hmac.digest(pepper, normal, hashlib.sha256))


def _split(stored: str | None) -> tuple[str, str, str]:
    scheme, _, rest = (stored or "").partition("$")
    pepper_id, _, hashed = rest.partition("$")
    return scheme, pepper_id, hashed


def _bcrypt_cost(hashed: str) -> int | None:
    form = _BCRYPT_FORM.fullmatch(hashed)
    if form is None or not MIN_FOREIGN_COST <= (cost := int(form[1])) <= MAX_FOREIGN_COST:
        return None
    return cost
