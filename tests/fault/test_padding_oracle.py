"""A wrong session_key is refused alike whether the padding looks right or not.

Promised: data that does not open gives one and the same error, and its time does
not tell whether the PKCS#7 padding was right. WeChat's encryption has no
authentication code, so whoever learns that of data of his choice can decrypt and
forge data block by block (Vaudenay's attack). Proved by 4,000 wrong keys, and by
the AUC of the times (0.5 is guessing, 1.0 is certainty) of data made so that its
padding is right in one class and wrong in the other. What holds it: the padding
is looked at without an early end, and bad padding takes the same way on.
"""

from __future__ import annotations

import base64
import json
import random
import secrets
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.fault.test_enumeration import auc, deviation
from wxauth_server.errors import UserDataInvalid
from wxauth_server.wechat.user_data import decrypt

pytestmark = pytest.mark.alone

APP, OPENID = "wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE"
NOW = 1_772_366_400

KEYS = 4_000
BAND = 0.05
#: Of each class. Two equal classes have an AUC within the band but for once in 10,000 runs.
ATTEMPTS = 2_000

#: A session_key, encrypted_data and iv.
Data = tuple[str, str, str]
Open = Callable[[Data], None]


def _cipher(key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    return Cipher(algorithms.AES(key), modes.CBC(iv))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sealed() -> tuple[bytes, bytes]:
    """Good data, some 2,000 bytes, under a key that nobody has, and its iv."""
    watermark = {"timestamp": NOW, "appid": APP}
    content = json.dumps({"openId": OPENID, "nickName": "x" * 2000, "watermark": watermark})
    padder = padding.PKCS7(128).padder()
    iv = secrets.token_bytes(16)
    encryptor = _cipher(secrets.token_bytes(16), iv).encryptor()
    return encryptor.update(padder.update(content.encode()) + padder.finalize()), iv


def _is_padded(data: Data) -> bool:
    key, sealed, iv = map(base64.b64decode, data)
    last = _cipher(key, iv).decryptor().update(sealed)[-16:]
    return 1 <= last[-1] <= 16 and last.endswith(last[-1:] * last[-1])


def _with_padding(length: int) -> Data:
    """Data that a wrong key turns into garbage whose last bytes are `length`, if that is > 0,
    and are no padding if it is 0."""
    sealed, iv = _sealed()
    key = secrets.token_bytes(16)
    garbage = _cipher(key, iv).decryptor().update(sealed)
    wanted = bytes([length or 0x80 | garbage[-1]]) * (length or 1)
    # What is XORed into a block of CBC comes out of the next one.
    change = bytes(a ^ b for a, b in zip(garbage[-len(wanted) :], wanted, strict=True))
    before_last = bytearray(sealed[-32:-16])
    for index, byte in enumerate(change, start=16 - len(change)):
        before_last[index] ^= byte
    changed = sealed[:-32] + bytes(before_last) + sealed[-16:]
    return _base64(key), _base64(changed), _base64(iv)


def _open(data: Data) -> None:
    key, encrypted_data, iv = data
    decrypt(
        *(key, encrypted_data, iv),
        app_id=APP,
        openid=OPENID,
        now_s=NOW,
        max_age_s=300,
    )


def _open_with_early_end(data: Data) -> None:
    """As one may write it first: bad padding ends it, and only the rest gets to the parser."""
    key, sealed, iv = map(base64.b64decode, data)
    padded = _cipher(key, iv).decryptor().update(sealed)
    unpadder = padding.PKCS7(128).unpadder()
    try:
        content = unpadder.update(padded) + unpadder.finalize()
        json.loads(content.decode("utf-8", errors="replace"))
    except ValueError:
        raise UserDataInvalid from None


def _refusal(opener: Open, data: Data) -> tuple[type[Exception], str, object, str]:
    """Everything there is to see of it."""
    try:
        opener(data)
    except UserDataInvalid as error:
        return type(error), str(error), error.args, repr(dict(error.metadata))
    raise AssertionError("a wrong key opened the data")


def _auc_of(opener: Open, attempts: int) -> float:
    """How well the time tells right padding from wrong, each attempt with data of its own."""
    right = [_with_padding(1 + turn % 16) for turn in range(attempts)]
    wrong = [_with_padding(0) for _ in range(attempts)]
    assert all(map(_is_padded, right))
    assert not any(map(_is_padded, wrong))
    times: tuple[list[float], list[float]] = ([], [])
    mixed = [(0, data) for data in right] + [(1, data) for data in wrong]
    random.Random(1).shuffle(mixed)
    for side, data in mixed[:50] + mixed:  # a few first, which fill caches
        began = time.perf_counter()
        _refusal(opener, data)
        times[side].append(time.perf_counter() - began)
    return auc(*times)


@pytest.mark.timeout(300)
def test_four_thousand_wrong_keys_get_one_and_the_same_error() -> None:
    sealed, iv = _sealed()
    seen, padded = set(), 0
    for _ in range(KEYS):
        data = _base64(secrets.token_bytes(16)), _base64(sealed), _base64(iv)
        seen.add(_refusal(_open, data))
        padded += _is_padded(data)
    # One in 255 on average: none at all comes once in six million runs.
    assert padded > 0
    for length in range(17):
        seen.add(_refusal(_open, _with_padding(length)))
    assert len(seen) == 1


@pytest.mark.timeout(300)
def test_the_time_does_not_tell_whether_the_padding_is_right() -> None:
    found = _auc_of(_open, ATTEMPTS)
    print(f"{ATTEMPTS} of each: AUC {found:.3f}")
    assert abs(found - 0.5) <= max(BAND, 4 * deviation(ATTEMPTS))


def test_control_with_an_early_end_the_time_tells() -> None:
    found = _auc_of(_open_with_early_end, 300)
    print(f"with an early end: AUC {found:.3f}")
    assert abs(found - 0.5) > 0.25
