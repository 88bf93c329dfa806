"""The bounds of PBKDF2, scrypt and argon2id hashes of other systems, and their exact forms."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from argon2.low_level import Type, hash_secret

from tests.unit.hashers import hasher
from wxauth_server.accounts.passwords import PasswordRefused, take_over

KEY_64 = "0" * 128
#: 32 zero bytes in base64, with and without padding.
KEY_32 = "A" * 43 + "="
UNPADDED = "A" * 43


def unpadded(size: int) -> str:
    """So many zero bytes in base64 without padding."""
    return "A" * -(-size * 4 // 3)


def pbkdf2(iterations: object, *, salt: str = "salt", key: str = KEY_32) -> str:
    return f"pbkdf2_sha256${iterations}${salt}${key}"


def scrypt(n: object, r: object, p: object, *, salt: str = "salt", key: str = KEY_64) -> str:
    return f"scrypt:{n}:{r}:{p}${salt}${key}"


def argon2id(
    m: object, t: object, p: object, *, v: str = "v=19$", salt: int = 16, key: int = 32
) -> str:
    return f"$argon2id${v}m={m},t={t},p={p}${unpadded(salt)}${unpadded(key)}"


WITHIN = [
    pbkdf2(1),
    pbkdf2(2_000_000),
    pbkdf2(1, salt="a"),
    pbkdf2(1, salt="!~,:" * 32),
    scrypt(2, 8, 1),
    scrypt(2**17, 8, 1),
    scrypt(2**17, 8, 2),
    scrypt(2**15, 1, 1),
    scrypt(2**15, 32, 1),
    scrypt(2**13, 8, 16),
    scrypt(2, 8, 1, salt="a" * 128),
    argon2id(8, 1, 1),
    argon2id(131_072, 8, 1),
    argon2id(8, 131_072, 1),
    argon2id(128, 1, 16),
    argon2id(8, 1, 1, salt=8, key=16),
    argon2id(8, 1, 1, salt=64, key=64),
    "argon2" + argon2id(64, 1, 8),
]


@pytest.mark.parametrize("made", WITHIN)
def test_within_the_bounds(made: str) -> None:
    take_over(made)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (pbkdf2(0), "1 to 2000000 iterations"),
        (pbkdf2(2_000_001), "not with 2000001"),
        (scrypt(0, 8, 1), "power of two"),
        (scrypt(1, 8, 1), "power of two"),
        (scrypt(3, 8, 1), "power of two"),
        (scrypt(2**15 + 1, 8, 1), "power of two"),
        (scrypt(2**16, 1, 1), r"below 2\*\*\(16 \* r\)"),
        (scrypt(2, 0, 1), "r of 1 to 32"),
        (scrypt(2, 33, 1), "r of 1 to 32"),
        (scrypt(2, 8, 0), "p up to 16"),
        (scrypt(2, 8, 17), "p up to 16"),
        (scrypt(2**18, 8, 1), "128 MiB"),
        (scrypt(2**16, 32, 1), "128 MiB"),
        (scrypt(2**17, 8, 3), "up to 2097152"),
        (argon2id(7, 1, 1), r"8 \* p"),
        (argon2id(127, 1, 16), r"8 \* p"),
        (argon2id(131_073, 1, 1), "128 MiB"),
        (argon2id(8, 0, 1), "t=0"),
        (argon2id(8, 131_073, 1), r"m \* t up to 1048576"),
        (argon2id(131_072, 9, 1), r"m \* t up to 1048576"),
        (argon2id(136, 1, 17), "p of 1 to 16"),
        (argon2id(8, 1, 0), "p of 1 to 16"),
        (argon2id(8, 1, 1, v="v=16$"), "version 19"),
        (argon2id(8, 1, 1, v="v=20$"), "version 19"),
    ],
)
def test_out_of_bounds(made: str, why: str) -> None:
    """What is stored nevertheless costs no more than a wrong password: test_password_refusals."""
    with pytest.raises(PasswordRefused, match=why):
        take_over(made)


@pytest.mark.parametrize(
    "made",
    [
        pbkdf2(""),
        pbkdf2("01"),
        pbkdf2("+1"),
        pbkdf2("1_0"),
        pbkdf2("1e3"),
        pbkdf2("\u0661"),
        pbkdf2("9" * 5_000),
        pbkdf2(1, salt=""),
        pbkdf2(1, salt="a" * 129),
        pbkdf2(1, salt="a b"),
        pbkdf2(1, salt="盐"),
        pbkdf2(1, key=""),
        pbkdf2(1, key=UNPADDED),
        pbkdf2(1, key=KEY_32 + "="),
        pbkdf2(1, key=KEY_32 + "\n"),
        pbkdf2(1, key="A" * 42 + "B="),  # two bits that decoding would drop
        pbkdf2(1, key="-" * 43 + "="),
        pbkdf2(1, key="A" * 39 + "="),
        pbkdf2(1, key="A" * 44),
        pbkdf2(1, key="A" * 86 + "=="),
        "pbkdf2_sha256$1$salt",
        scrypt("", 8, 1),
        scrypt("016", 8, 1),
        scrypt(16, 8, "1:1"),
        scrypt(16, -8, 1),
        scrypt("9" * 5_000, 8, 1),
        scrypt(16, 8, 1, salt=""),
        scrypt(16, 8, 1, salt="a" * 129),
        scrypt(16, 8, 1, salt="盐"),
        scrypt(16, 8, 1, key=""),
        scrypt(16, 8, 1, key="0" * 127),
        scrypt(16, 8, 1, key="0" * 129),
        scrypt(16, 8, 1, key="F" * 128),
        scrypt(16, 8, 1, key="g" * 128),
        scrypt(16, 8, 1, key=KEY_64 + "\n"),
        "scrypt:16:8$salt$" + KEY_64,
        argon2id(8, 1, 1, v=""),
        argon2id("08", 1, 1),
        argon2id(8, 1, 1, salt=7),
        argon2id(8, 1, 1, salt=65),
        argon2id(8, 1, 1, key=15),
        argon2id(8, 1, 1, key=31),
        argon2id(8, 1, 1, key=33),
        argon2id(8, 1, 1, key=65),
        argon2id(8, 1, 1, key=72),
        argon2id(8, 1, 1) + "=",
        argon2id(8, 1, 1) + "\n",
        argon2id(8, 1, 1) + "$x",
        argon2id(8, 1, 1)[:-1] + "B",  # two bits that decoding would drop
        argon2id(8, 1, "1,keyid=x"),
        "$argon2id$v=19$t=1,m=8,p=1$" + unpadded(16) + "$" + UNPADDED,
        "$argon2id$v=19$m=8,t=1,p=1$" + "A" * 17 + "$" + UNPADDED,
        "$argon2id$v=19$m=8,t=1,p=1$" + unpadded(16),
    ],
)
def test_malformed(made: str) -> None:
    with pytest.raises(PasswordRefused, match=r"no complete|power of two") as refusal:
        take_over(made)
    assert made not in str(refusal.value)


@pytest.mark.parametrize(
    ("n", "r", "p"), [(2, 1, 1), (2, 1, 16), (2, 32, 16), (2**15, 1, 1), (64, 3, 5), (1024, 8, 16)]
)
def test_scrypt_has_the_memory_it_counts_on(n: int, r: int, p: int) -> None:
    """OpenSSL refuses to begin with a byte less than it needs."""
    key = hashlib.scrypt(b"right", salt=b"salt", n=n, r=r, p=p, maxmem=2**27, dklen=64).hex()
    stored = take_over(scrypt(n, r, p, key=key))
    assert hasher().verify(stored, "right")
    assert not hasher().verify(stored, "wrong")


@pytest.mark.parametrize(
    ("m", "t", "p", "salt", "key"),
    [(8, 1, 1, 8, 16), (8, 1, 1, 64, 64), (128, 1, 16, 16, 32), (9, 300, 1, 17, 40)],
)
def test_argon2id_at_its_bounds(m: int, t: int, p: int, salt: int, key: int) -> None:
    made = hash_secret(b"right", b"s" * salt, t, m, p, key, Type.ID).decode()
    assert hasher().verify(take_over(made), "right")
    assert not hasher().verify(take_over(made), "wrong")


@pytest.mark.parametrize("made", [scrypt(2**17, 8, 1), argon2id(131_072, 1, 1)])
def test_too_little_memory_is_no_wrong_password(made: str) -> None:
    """The user must not be told so, nor the attempt be counted: it is an error of ours."""
    code = f"""
import resource
from tests.unit.hashers import hasher
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, size + 2**26))
try:
    hasher().verify_foreign({made!r}, "x")
except MemoryError as error:
    assert error.__cause__ is None and "memory" in str(error)
else:
    raise AssertionError("it is not lack of memory that this would test")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
