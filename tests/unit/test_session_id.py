"""The SessionId: its form, its check, its digest, and where its bits come from."""

from __future__ import annotations

import ast
import hashlib
import random
import re
import secrets
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxauth_server import session_id as module
from wxauth_server.session_id import (
    LENGTH,
    PREFIX,
    encode_session_id,
    new_session_handle,
    new_session_id,
    session_digest,
)

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def from_base62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + BASE62.index(character)
    return number


def test_the_form() -> None:
    session_id = new_session_id()
    assert (len(session_id), LENGTH, PREFIX) == (53, 53, "wxs_")
    assert re.fullmatch(r"wxs_[0-9A-Za-z]{49}", session_id)


def test_the_zero_session_id_is_written_down() -> None:
    checksum = zlib.crc32(b"wxs_" + b"0" * 43)
    session_id = encode_session_id(bytes(32))
    assert session_id[:47] == "wxs_" + "0" * 43
    assert from_base62(session_id[47:]) == checksum


@given(st.binary(min_size=32, max_size=32))
def test_it_carries_all_bits_and_their_check(secret: bytes) -> None:
    session_id = encode_session_id(secret)
    assert from_base62(session_id[4:47]) == int.from_bytes(secret, "big")
    assert from_base62(session_id[47:]) == zlib.crc32(session_id[:47].encode())
    assert session_digest(session_id) == hashlib.sha256(session_id.encode()).digest()


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_fewer_bits_or_more_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encode_session_id(bytes(length))


def test_every_typo_of_one_character_is_detected() -> None:
    """Row 29: 10,000 of 10,000, prefix and check included."""
    chance = random.Random(29)
    for _ in range(10_000):
        right = encode_session_id(chance.randbytes(32))
        position = chance.randrange(LENGTH)
        wrong = chance.choice(BASE62.replace(right[position], "") + "_-")
        typo = right[:position] + wrong + right[position + 1 :]
        assert typo == right or session_digest(typo) is None, position


def test_swapped_neighbours_are_detected() -> None:
    chance = random.Random(30)
    for _ in range(2_000):
        right = encode_session_id(chance.randbytes(32))
        position = chance.randrange(4, LENGTH - 1)
        typo = right[:position] + right[position + 1] + right[position] + right[position + 2 :]
        assert typo == right or session_digest(typo) is None


def test_random_characters_pass_by_chance_only() -> None:
    """Row 29: 10,000 random tokens are refused without a look at the store."""
    chance = random.Random(31)
    for _ in range(10_000):
        assert session_digest("wxs_" + "".join(chance.choices(BASE62, k=49))) is None


GOOD = encode_session_id(bytes(range(32)))


@pytest.mark.parametrize(
    "near_miss",
    [
        "",
        GOOD[:-1],
        GOOD + "0",
        GOOD + "\n",
        " " + GOOD,
        GOOD.upper(),
        GOOD.replace("wxs_", "WXS_"),
        GOOD.replace("wxs_", "ory_"),
        GOOD[4:],
        GOOD[:10] + "\0" + GOOD[11:],
        GOOD[:10] + "\uff10" + GOOD[11:],  # a full-width digit
        GOOD[:10] + "\u0660" + GOOD[11:],  # an Arabic digit
        GOOD[:10] + "\ud800" + GOOD[11:],
        GOOD + GOOD,
    ],
)
def test_what_is_not_of_the_form_has_no_digest(near_miss: str) -> None:
    assert session_digest(GOOD) is not None
    assert session_digest(near_miss) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert session_digest(text) is None


def test_no_two_are_alike() -> None:
    assert len({new_session_id() for _ in range(10_000)}) == 10_000
    assert len({new_session_handle() for _ in range(10_000)}) == 10_000


def test_the_handle_is_public_and_opens_nothing() -> None:
    handle = new_session_handle()
    assert re.fullmatch(r"[0-9A-Za-z_-]{22}", handle)
    assert session_digest(handle) is None


def test_the_bits_come_from_the_systems_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """256 of them, as they come."""
    asked: list[int] = []

    def token_bytes(count: int) -> bytes:
        asked.append(count)
        return b"\x5a" * count

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    assert new_session_id() == encode_session_id(b"\x5a" * 32)
    assert asked == [32]


def test_no_other_source_of_chance_is_imported() -> None:
    """ASVS 7.2.3 and 11.5.1: neither `random` nor UUIDs."""
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "secrets" in imported
    assert not imported & {"random", "uuid", "os", "time", "numpy"}


def test_the_published_expression_finds_leaked_ones() -> None:
    """The one in the module's own documentation, in a line of a log."""
    published = re.search(r"leaked ones: `(.+)`", module.__doc__ or "")
    assert published is not None
    session_id = new_session_id()
    line = f'{{"headers": "Authorization: Bearer {session_id}", "status": 200}}'
    assert re.findall(published[1], line) == [session_id]
    assert re.findall(published[1], "wxs_ and wxs_tooshort") == []
