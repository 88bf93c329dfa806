"""What WeChat gives to the mini-program for the server: opened, and checked. No I/O here.

`encryptedData` has no authentication code. Whoever could tell bad padding from
bad content, by the error or by the time, could forge data with a session_key
that they do not know, block by block. So all that does not open is one error,
and takes the same way through the same work.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from wxauth_server.errors import RequestInvalid, SessionKeyInvalid, UserDataInvalid
from wxauth_server.wechat.session_key import read_aes_key

_BLOCK_BYTES = 16
_SIGNATURE = re.compile(r"[0-9a-f]{40}")

_SPACE = "contains a space where a + was: it was not URL-encoded on the way"


@dataclass(frozen=True, slots=True)
class UserData:
    """`json_text` is a JSON object as WeChat wrote it; `watermark_time_s` is Unix time."""

    json_text: str = field(repr=False)
    watermark_time_s: int


# --- The shape of the fields: what can be said before a key is touched --------


def problem_of_encrypted_data(encrypted_data: str) -> str | None:
    """What is wrong with it, fit for RequestInvalid; None if it can be tried."""
    ciphertext = _decode(encrypted_data)
    if isinstance(ciphertext, str):
        return ciphertext
    if not ciphertext or len(ciphertext) % _BLOCK_BYTES:
        return "not a whole number of 16-byte blocks: a part of it is missing"
    return None


def problem_of_iv(iv: str) -> str | None:
    """What is wrong with it, fit for RequestInvalid; None if it can be tried."""
    decoded = _decode(iv)
    if isinstance(decoded, str):
        return decoded
    return None if len(decoded) == _BLOCK_BYTES else "not the base64 of 16 bytes"


def problem_of_signature(signature: str) -> str | None:
    """What is wrong with it, fit for RequestInvalid; None if it can be tried."""
    return None if _SIGNATURE.fullmatch(signature) else "not 40 lower-case hex digits"


def _decode(text: str) -> bytes | str:
    """The bytes, or what is wrong with the base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        pass
    if " " in text:
        return _SPACE
    if "%" in text:
        return "contains a %: it was URL-encoded once too often"
    if "-" in text or "_" in text:
        return "not standard base64, but its URL-safe form"
    return "not standard base64"


# --- Opening ----------------------------------------------------------------


def decrypt(
    session_key: str,
    encrypted_data: str,
    iv: str,
    *,
    app_id: str,
    openid: str,
    now_s: float,
    max_age_s: float,
) -> UserData:
    """Open `encrypted_data` and check that it is this app's, this user's, and fresh.

    Fresh is a watermark at most `max_age_s` from `now_s`, which is Unix time,
    in either direction. An `openId` in the data must be `openid`.

    Raises UserDataInvalid() for all that does not open, whatever the cause and
    in the same time; UserDataInvalid("APP") for data of another app or user and
    UserDataInvalid("STALE"), both only for data that opened;
    SessionKeyInvalid if `session_key` is no AES-128 key; RequestInvalid for a
    field that a problem_of_... function finds something wrong with.
    """
    fields = {
        "encrypted_data": problem_of_encrypted_data(encrypted_data),
        "iv": problem_of_iv(iv),
    }
    violations = [(name, problem) for name, problem in fields.items() if problem]
    if violations:
        raise RequestInvalid(*violations)
    key = read_aes_key(session_key)
    if key is None:
        raise SessionKeyInvalid
    # WeChat's choice of mode, not ours. CBC without a MAC: see the module's docstring.
    decryptor = Cipher(algorithms.AES(key), modes.CBC(base64.b64decode(iv))).decryptor()
    padded = decryptor.update(base64.b64decode(encrypted_data)) + decryptor.finalize()
    padding, is_padded = _padding_of(padded)
    # Bad padding goes the same way, with a byte cut off as if it were of length 1.
    opened = _read(padded[:-padding])
    if opened is None or not is_padded:
        raise UserDataInvalid
    if opened.app_id != app_id or opened.openid not in ("", openid):
        raise UserDataInvalid("APP")
    if abs(now_s - opened.data.watermark_time_s) > max_age_s:
        raise UserDataInvalid("STALE")
    return opened.data


@dataclass(frozen=True, slots=True)
class _Opened:
    data: UserData
    app_id: str
    openid: str


def _padding_of(padded: bytes) -> tuple[int, bool]:
    """The length of the PKCS#7 padding, and whether it is right; 1 if it is not.

    Looks at all of the last block, whatever is in it.
    """
    last = padded[-_BLOCK_BYTES:]
    length = last[-1]
    wrong = (length == 0) | (length > _BLOCK_BYTES)
    for distance in range(_BLOCK_BYTES):
        wrong |= (distance < length) & (last[-1 - distance] != length)
    return (1, length)[not wrong], not wrong


def _read(content: bytes) -> _Opened | None:
    """What WeChat wrote; None if it is not WeChat's."""
    try:
        text = content.decode("utf-8")
        fields: Any = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    watermark = fields.get("watermark") if isinstance(fields, dict) else None
    if not isinstance(watermark, dict):
        return None
    app_id, timestamp = watermark.get("appid"), watermark.get("timestamp")
    openid = fields.get("openId", "")
    if not isinstance(app_id, str) or not isinstance(openid, str):
        return None
    # Seconds that a protobuf Timestamp can hold: year 1970 to 9999.
    if type(timestamp) is not int or not 0 <= timestamp < 253_402_300_800:
        return None
    return _Opened(UserData(text, timestamp), app_id, openid)


def _refuse_constant(_name: str) -> NoReturn:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError


# --- The signature ----------------------------------------------------------


def verify(session_key: str, raw_data: str, signature: str) -> None:
    """Return if `signature` is WeChat's of `raw_data`, byte for byte.

    Raises UserDataInvalid() if it is not; RequestInvalid if it has not the
    shape of one.
    """
    problem = problem_of_signature(signature)
    if problem:
        raise RequestInvalid(("signature", problem))
    signed = (raw_data + session_key).encode("utf-8", errors="surrogatepass")
    # S324: WeChat's choice, and no collision helps: the key is at the end of what is signed.
    expected = hashlib.sha1(signed).hexdigest()  # noqa: S324
    if not hmac.compare_digest(expected, signature):
        raise UserDataInvalid
