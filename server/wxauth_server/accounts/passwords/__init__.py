"""Passwords: what can be set as one, how it is hashed, and the hashes of other systems.

Other parts import from here.
"""

from __future__ import annotations

from wxauth_server.accounts.passwords.bcrypt_hashes import MAX_FOREIGN_COST, MIN_FOREIGN_COST
from wxauth_server.accounts.passwords.foreign_hashes import is_foreign_malformed, take_over
from wxauth_server.accounts.passwords.hasher import (
    BCRYPT_COST,
    PasswordHasher,
    is_malformed,
    pepper_id_of,
)
from wxauth_server.accounts.passwords.new_passwords import (
    MAX_PASSWORD_BYTES,
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
    check_new_password,
    password_length,
)
from wxauth_server.accounts.passwords.password_refusals import NoUsablePassword, PasswordRefused

__all__ = [
    "BCRYPT_COST",
    "MAX_FOREIGN_COST",
    "MAX_PASSWORD_BYTES",
    "MAX_PASSWORD_CHARACTERS",
    "MIN_FOREIGN_COST",
    "MIN_PASSWORD_CHARACTERS",
    "NoUsablePassword",
    "PasswordHasher",
    "PasswordRefused",
    "check_new_password",
    "is_foreign_malformed",
    "is_malformed",
    "password_length",
    "pepper_id_of",
    "take_over",
]
