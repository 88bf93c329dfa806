"""Hashers of low cost, and hashes as the real libraries of other systems write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import argon2
import bcrypt
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    BCryptPasswordHasher,
    BCryptSHA256PasswordHasher,
    PBKDF2PasswordHasher,
)
from werkzeug.security import generate_password_hash

from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.keyring import Key, KeyRing, Purpose, State

COST = 4
PEPPER = bytes(range(32))


def ring(*peppers: tuple[str, bytes]) -> KeyRing:
    """A ring whose first pepper is active."""
    return KeyRing(
        [
            *(
                Key(Purpose.PEPPER, key_id, State.OLD if number else State.ACTIVE, secret)
                for number, (key_id, secret) in enumerate(peppers)
            ),
            Key(Purpose.DIGEST, "digest-1", State.ACTIVE, bytes(32)),
        ]
    )


def hasher(*, cost: int = COST, pepper: bytes = PEPPER) -> PasswordHasher:
    return PasswordHasher(ring(("pepper-1", pepper)), cost=cost)


def bcrypt_hash(password: bytes, *, cost: int = COST, prefix: str = "2b") -> str:
    made = bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()
    return made.replace("$2b$", f"${prefix}$")


def _django_argon2(password: str) -> str:
    made = Argon2PasswordHasher()
    made.time_cost, made.memory_cost = 1, 64
    return str(made.encode(password, "saltsaltsaltsaltsaltsa"))


#: What wrote a hash -> how it hashes a password, at a low cost.
WRITERS: Mapping[str, Callable[[str], str]] = {
    "bcrypt 2a": lambda password: bcrypt_hash(password.encode(), prefix="2a"),
    "bcrypt 2b": lambda password: bcrypt_hash(password.encode()),
    "bcrypt 2y, PHP": lambda password: bcrypt_hash(password.encode(), prefix="2y"),
    "bcrypt, Spring": lambda password: "{bcrypt}" + bcrypt_hash(password.encode(), prefix="2a"),
    "bcrypt, Django": lambda password: str(
        BCryptPasswordHasher().encode(password, bcrypt.gensalt(COST))
    ),
    "bcrypt_sha256, Django": lambda password: str(
        BCryptSHA256PasswordHasher().encode(password, bcrypt.gensalt(COST))
    ),
    "pbkdf2_sha256, Django": lambda password: str(
        PBKDF2PasswordHasher().encode(password, "saltsaltsaltsaltsaltsa", 3)
    ),
    "argon2id": argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash,
    "argon2id, Django": _django_argon2,
    "scrypt, werkzeug": lambda password: generate_password_hash(password, "scrypt:128:8:1"),
}

#: A hash of nothing that anybody knows the password of, of the right form.
FORM = "$2b$04$" + "." * 53

#: What is no bcrypt hash of ours or of others, nor any other.
MALFORMED = [
    "",
    "!",
    "*",
    "x" * 60,
    "$2b$03$" + "." * 53,
    "$2b$15$" + "." * 53,
    "$2b$31$" + "." * 53,
    "$2b$4$" + "." * 53,
    "$2b$004$" + "." * 53,
    "$2b$0x$" + "." * 53,
    # Digits, but not those of a bcrypt hash.
    "$2b$\u0660\u0664$" + "." * 53,
    "$2b$\uff10\uff14$" + "." * 53,
    "$2c$04$" + "." * 53,
    "$2$04$" + "." * 53,
    "$1$abcdefgh$0123456789012345678901",
    "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",  # four bytes of salt, and of key
    FORM[:-1],
    FORM + ".",
    FORM + "\n",
    " " + FORM,
    FORM.replace(".", "+"),
    # The 22nd character of a salt carries two bits only.
    "$2b$04$" + "." * 21 + "a" + "." * 31,
    "$2b$04$" + "." * 21 + "/" + "." * 31,
    "$2b$04$" + "\0" * 53,
    "$2b$04$" + "密" * 53,
]
