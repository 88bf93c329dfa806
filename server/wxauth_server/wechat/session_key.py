"""A WeChat user's session_key: its shape, and how we prove to WeChat that we have it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Literal

from wxauth_server.wechat.answers import Fields, Nonsense

# AES-128: 16 bytes, in WeChat's base64 always 24 characters.
_KEY_BYTES = 16


def read_aes_key(session_key: str) -> bytes | None:
    """The 16 bytes that the base64 text stands for, None if it is no such text."""
    try:
        key = base64.b64decode(session_key, validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if len(key) == _KEY_BYTES else None


def signed_query(access_token: str, openid: str, session_key: str) -> dict[str, str]:
    """The parameters of checksession and resetusersessionkey.

    The signature is the HMAC-SHA256 of an empty message; its key is the base64
    text itself, not the bytes that it stands for.
    """
    key = session_key.encode(errors="replace")
    return {
        "access_token": access_token,
        "openid": openid,
        "signature": hmac.new(key, b"", hashlib.sha256).hexdigest(),
        "sig_method": "hmac_sha256",
    }


def read_confirmation(fields: Fields) -> Literal[True] | Nonsense:
    """The answer of checksession: errcode 0, which has to be there."""
    return True if "errcode" in fields else Nonsense("no errcode")


def read_new_key(fields: Fields, openid: str) -> str | Nonsense:
    """The answer of resetusersessionkey for this user."""
    session_key = fields.get("session_key")
    if fields.get("openid") != openid:
        return Nonsense("not the openid that was asked about")
    if not isinstance(session_key, str) or read_aes_key(session_key) is None:
        return Nonsense("no proper session_key")
    return session_key
