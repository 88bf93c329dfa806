"""PBKDF2, scrypt and argon2id hashes of other systems: their exact forms and bounds.

All three derive a key from the password and a salt, and the key is the hash.
The bounds keep one check below a second of CPU (measured on a core of 2026) and
128 MiB, however the hash came into the table; the memory is taken once for each
thread that checks passwords. The libraries let other threads run meanwhile.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from wxauth_server.accounts.passwords.password_refusals import PasswordRefused

#: Django 5.2 writes 1,000,000; twice that took 0.8 s.
MAX_PBKDF2_ITERATIONS = 2_000_000
#: scrypt at N * r = 2**20 and argon2id at m = 131,072 KiB. Werkzeug takes 32 MiB, Django 100 MiB.
MAX_MEMORY_BYTES = 128 * 2**20
#: scrypt's N * r * p: 0.9 s. Werkzeug's is 2**18.
MAX_SCRYPT_WORK = 2**21
#: scrypt's r. Everybody takes 8; a higher one only moves memory out of N.
MAX_SCRYPT_R = 32
#: argon2id's m * t, in KiB: 1.1 s. Django's is 204,800, that of RFC 9106 (64 MiB) 196,608.
MAX_ARGON2_WORK_KIB = 2**20
#: p of scrypt and argon2id. For argon2id as many threads run; Django takes 8.
MAX_LANES = 16
#: A salt that is text. Django makes 22 characters, werkzeug 16.
MAX_SALT_CHARACTERS = 128
#: RFC 9106 section 3.1 asks for 8 bytes of salt, and recommends 16.
ARGON2_SALT_BYTES = range(8, 65)
#: 32 in all libraries of today, 16 in those of 2017. In steps, so that a hash whose
#: last characters were cut off is seen to be malformed.
ARGON2_KEY_BYTES = range(16, 65, 8)

_PBKDF2_KEY_BYTES = 32
_SCRYPT_KEY_BYTES = 64

_NUMBER = r"(0|[1-9][0-9]{0,9})"
# Printable ASCII without the dollar that separates.
_SALT = rf"([!-#%-~]{{1,{MAX_SALT_CHARACTERS}}})"
_BASE64 = r"([A-Za-z0-9+/]{1,100})"
_PBKDF2 = re.compile(rf"{_NUMBER}\${_SALT}\${_BASE64}=")
_SCRYPT = re.compile(
    rf"{_NUMBER}:{_NUMBER}:{_NUMBER}\${_SALT}\$([0-9a-f]{{{_SCRYPT_KEY_BYTES * 2}}})"
)
_ARGON2ID = re.compile(
    rf"\$argon2id\$v={_NUMBER}\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\${_BASE64}\${_BASE64}"
)


@dataclass(frozen=True)
class DerivedHash(ABC):
    """A key that was derived from the raw UTF-8 of a password."""

    salt: bytes
    key: bytes = field(repr=False)

    #: It costs no rounds of bcrypt.
    bcrypt_cost = None

    def matches(self, password: str) -> bool:
        """Whether this is the hash of `password`, in constant time for its parameters.

        Blocking, and without the interpreter's lock. Raises: MemoryError when
        this machine has too little memory, or threads, for it.
        """
        try:
            derived = self._derive(password.encode())
        except (HashingError, ValueError):
            # The parameters are within bounds, so that is the only reason left.
            raise MemoryError("too little memory to check a password hash") from None
        return hmac.compare_digest(derived, self.key)

    @abstractmethod
    def _derive(self, password: bytes) -> bytes: ...


@dataclass(frozen=True)
class Pbkdf2Hash(DerivedHash):
    """PBKDF2 with HMAC-SHA-256, as Django writes it."""

    iterations: int

    def _derive(self, password: bytes) -> bytes:
        return hashlib.pbkdf2_hmac("sha256", password, self.salt, self.iterations, len(self.key))


@dataclass(frozen=True)
class ScryptHash(DerivedHash):
    """scrypt (RFC 7914), as werkzeug writes it."""

    n: int
    r: int
    p: int

    def _derive(self, password: bytes) -> bytes:
        # Exactly what OpenSSL counts: p blocks, N blocks and two to mix with.
        memory = 128 * self.r * (self.n + self.p + 2)
        return hashlib.scrypt(
            password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=memory,
            dklen=len(self.key),
        )  # fmt: skip


@dataclass(frozen=True)
class Argon2idHash(DerivedHash):
    """argon2id (RFC 9106), version 19. Runs `lanes` threads."""

    memory_kib: int
    passes: int
    lanes: int

    def _derive(self, password: bytes) -> bytes:
        return hash_secret_raw(
            password, self.salt, self.passes, self.memory_kib, self.lanes, len(self.key), Type.ID
        )


def parse_pbkdf2_sha256(text: str) -> Pbkdf2Hash:
    """Read `iterations$salt$key`. Raises: PasswordRefused."""
    form = _PBKDF2.fullmatch(text)
    key = _decoded(form[3]) if form else None
    if form is None or key is None or len(key) != _PBKDF2_KEY_BYTES:
        raise PasswordRefused("this is no complete pbkdf2_sha256 hash: iterations, salt and key")
    iterations = int(form[1])
    if not 1 <= iterations <= MAX_PBKDF2_ITERATIONS:
        raise PasswordRefused(
            f"pbkdf2_sha256 with 1 to {MAX_PBKDF2_ITERATIONS} iterations can be taken over,"
            f" not with {iterations}"
        )
    return Pbkdf2Hash(form[2].encode(), key, iterations)


def parse_scrypt(text: str) -> ScryptHash:
    """Read `N:r:p$salt$key`. Raises: PasswordRefused."""
    form = _SCRYPT.fullmatch(text)
    if form is None:
        raise PasswordRefused("this is no complete scrypt hash of werkzeug: N:r:p, salt and key")
    n, r, p = int(form[1]), int(form[2]), int(form[3])
    # RFC 7914 section 2: N is a power of two below 2**(128 * r / 8).
    if n < 2 or n & (n - 1) or not 1 <= r <= MAX_SCRYPT_R or n.bit_length() > 16 * r:
        raise PasswordRefused(
            f"scrypt needs an N that is a power of two, below 2**(16 * r), and an r of 1 to"
            f" {MAX_SCRYPT_R}"
        )
    if 128 * n * r > MAX_MEMORY_BYTES or not 1 <= p <= MAX_LANES or n * r * p > MAX_SCRYPT_WORK:
        raise PasswordRefused(
            f"scrypt can be taken over with N * r up to {MAX_MEMORY_BYTES // 128} (128 MiB),"
            f" p up to {MAX_LANES} and N * r * p up to {MAX_SCRYPT_WORK}, not {n}:{r}:{p}"
        )
    return ScryptHash(form[4].encode(), bytes.fromhex(form[5]), n, r, p)


def parse_argon2id(text: str) -> Argon2idHash:
    """Read the PHC string, `$argon2id$v=19$m=…,t=…,p=…$salt$key`. Raises: PasswordRefused."""
    form = _ARGON2ID.fullmatch(text)
    salt = _decoded(form[5]) if form else None
    key = _decoded(form[6]) if form else None
    if (
        form is None or salt is None or key is None
        or len(salt) not in ARGON2_SALT_BYTES or len(key) not in ARGON2_KEY_BYTES
    ):  # fmt: skip
        raise PasswordRefused("this is no complete argon2id hash: version, m, t, p, salt and key")
    version, memory_kib, passes, lanes = (int(form[group]) for group in range(1, 5))
    if version != ARGON2_VERSION:
        raise PasswordRefused(f"argon2id can be taken over in version {ARGON2_VERSION} only")
    if (
        not 1 <= lanes <= MAX_LANES
        or not 8 * lanes <= memory_kib <= MAX_MEMORY_BYTES // 1024
        or passes < 1
        or memory_kib * passes > MAX_ARGON2_WORK_KIB
    ):
        raise PasswordRefused(
            f"argon2id can be taken over with p of 1 to {MAX_LANES}, m of 8 * p to"
            f" {MAX_MEMORY_BYTES // 1024} (128 MiB) and m * t up to {MAX_ARGON2_WORK_KIB},"
            f" not with m={memory_kib},t={passes},p={lanes}"
        )
    return Argon2idHash(salt, key, memory_kib, passes, lanes)


def _decoded(text: str) -> bytes | None:
    """Base64 without its padding, in the one canonical spelling."""
    padded = text + "=" * (-len(text) % 4)
    try:
        decoded = base64.b64decode(padded, validate=True)
    except ValueError:
        return None
    # The last character can carry bits that decoding drops.
    return decoded if base64.b64encode(decoded).decode() == padded else None
