"""What the phone hands a mini-program about its user: sealed and signed with the session_key."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

_BLOCK = 16


def sign(raw_data: str, session_key: str) -> str:
    """The hex SHA-1 over rawData and the session_key's base64 text."""
    # S324: WeChat's choice, not ours.
    return hashlib.sha1((raw_data + session_key).encode("utf-8")).hexdigest()  # noqa: S324


def seal(plain: bytes, session_key: str, iv: bytes) -> bytes:
    """AES-128-CBC with PKCS#7, as the phone does it."""
    padding = _BLOCK - len(plain) % _BLOCK
    encryptor = Cipher(AES(base64.b64decode(session_key)), CBC(iv)).encryptor()
    return encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()


def hand_out(
    data: dict[str, object],
    session_key: str,
    *,
    secret_fields: dict[str, object],
    watermark: dict[str, object],
) -> dict[str, str]:
    """encryptedData, iv, rawData and signature.

    rawData holds `data` alone; what is sealed has `secret_fields` before it and
    the watermark behind. Raises UnicodeEncodeError for a lone surrogate in `data`.
    """
    raw_data = _compact(data)
    plain = _compact(secret_fields | data | {"watermark": watermark})
    iv = secrets.token_bytes(_BLOCK)
    return {
        "encryptedData": _base64(seal(plain.encode("utf-8"), session_key, iv)),
        "iv": _base64(iv),
        "rawData": raw_data,
        "signature": sign(raw_data, session_key),
    }


def profile_of(user: str) -> dict[str, object]:
    """What wx.getUserProfile tells of a user, in WeChat's order."""
    return {
        "nickName": user,
        "gender": 0,
        "language": "zh_CN",
        "city": "",
        "province": "",
        "country": "中国",
        "avatarUrl": "https://thirdwx.qlogo.cn/mmopen/vi_32/sandbox/132",
    }


def _compact(fields: dict[str, object]) -> str:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
