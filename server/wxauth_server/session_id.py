"""Step 5: the SessionId, its form, its check and its digest. No store here.

A SessionId is `wxs_`, 43 base62 characters (256 random bits) and 6 base62
characters of CRC-32 over what precedes them: 53 characters. The prefix and the
checksum make it recognisable to secret scanners and let a malformed one be
refused without a look at the store. The form is the one GitHub chose for its
tokens. To scan for leaked ones: `wxs_[0-9A-Za-z]{49}`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

PREFIX = "wxs_"
LENGTH = 53

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BYTES = 32  # 256 bits; OWASP ASVS 5.0 7.2.3 asks for 128
_BODY_CHARACTERS = 43  # 62**43 > 2**256
_CHECKSUM_CHARACTERS = 6  # 62**6 > 2**32
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_BODY_CHARACTERS + _CHECKSUM_CHARACTERS}}}")


def new_session_id() -> str:
    """A SessionId that nobody can guess."""
    return encode_session_id(secrets.token_bytes(_RANDOM_BYTES))


def encode_session_id(secret: bytes) -> str:
    """The SessionId that carries these 32 bytes."""
    if len(secret) != _RANDOM_BYTES:
        raise ValueError("a SessionId carries 32 bytes")
    payload = PREFIX + _base62(int.from_bytes(secret, "big"), _BODY_CHARACTERS)
    return payload + _checksum(payload.encode("ascii"))


def session_digest(session_id: str) -> bytes | None:
    """SHA-256 of a well-formed SessionId, which is all the store keeps; else None."""
    if _FORM.fullmatch(session_id) is None:
        return None
    text = session_id.encode("ascii")
    if _checksum(text[:-_CHECKSUM_CHARACTERS]) != session_id[-_CHECKSUM_CHARACTERS:]:
        return None
    return hashlib.sha256(text).digest()


def new_session_handle() -> str:
    """The public name of a session: 128 random bits in 22 characters. It opens nothing."""
    return secrets.token_urlsafe(16)


def _checksum(payload: bytes) -> str:
    # By pairs, since every validation comes here: 0.4 instead of 1.9 µs.
    high, rest = divmod(zlib.crc32(payload), 62**4)
    middle, low = divmod(rest, 62**2)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


def _base62(number: int, width: int) -> str:
    characters = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))
