"""Tokens of callers: what they look like, and what is kept of them.

`wxc_` is a caller's, `wxa_` the one of a server's data directory; 43 characters
of base64url follow, 256 random bits: nobody guesses one, so wrong ones are not
counted and a digest needs no salt. To scan for leaked ones:
`wx[ac]_[0-9A-Za-z_-]{43}`.
"""

from __future__ import annotations

import hashlib
import secrets

CALLER_PREFIX = "wxc_"
ADMIN_PREFIX = "wxa_"

_RANDOM_BYTES = 32


def new_token(prefix: str) -> str:
    return prefix + secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(token: str) -> str:
    """SHA-256 in hex, of any text that claims to be a token."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
