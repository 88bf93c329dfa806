"""The key ring: what its file must be, and what never comes out of it."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from wxauth_server.keyring import (
    Key,
    KeyRing,
    KeyRingUnusable,
    Purpose,
    create_keyring,
    load_keyring,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "keyring.json"


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def document(path: Path) -> dict[str, Any]:
    """What a good ring's file says."""
    create_keyring(path)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def refused(path: Path) -> str:
    """Why the file is refused: the file by name, and no secret in text or traceback."""
    secrets = re.findall(rb"[A-Za-z0-9+/]{43}=?", path.read_bytes()) if path.is_file() else []
    with pytest.raises(KeyRingUnusable) as refusal:
        load_keyring(path)
    error = refusal.value
    text = f"{error!r} {error.__cause__!r}"
    assert not any(secret.decode() in text for secret in secrets)
    assert error.__suppress_context__ or error.__context__ is None
    assert str(path) in str(error)
    return str(error)


def test_what_was_created_is_loaded(path: Path) -> None:
    created = create_keyring(path)
    assert list(load_keyring(path)) == list(created)
    assert {key.purpose for key in created} == set(Purpose)
    for key in created:
        assert (len(key.secret), key.active) == (32, True)
        assert re.fullmatch(rf"{key.purpose}-[0-9a-f]{{8}}", key.id)
        assert created.active(key.purpose) == key
        assert created.find(key.purpose, key.id) == key


def test_no_two_rings_are_alike(path: Path) -> None:
    rings = [create_keyring(path.with_name(f"{number}.json")) for number in range(2)]
    secrets = [key.secret for ring in rings for key in ring]
    assert len(set(secrets)) == len(secrets)


def test_only_the_owner_can_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        create_keyring(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_existing_file_is_left_as_it_is(path: Path) -> None:
    create_keyring(path)
    before = path.read_bytes()
    with pytest.raises(KeyRingUnusable, match=f"{path} exists already"):
        create_keyring(path)
    assert path.read_bytes() == before


def test_a_dangling_link_is_not_followed(path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(path.parent / "elsewhere")
    with pytest.raises(KeyRingUnusable, match=str(path)):
        create_keyring(path)
    assert not (path.parent / "elsewhere").exists()


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyRingUnusable, match=str(tmp_path / "file")):
        create_keyring(tmp_path / "file" / "keyring.json")


def test_a_missing_file_says_what_to_do(path: Path) -> None:
    assert "wxauth keys init" in refused(path)


def test_a_directory_is_no_file(path: Path) -> None:
    path.mkdir(parents=True)
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o640, 0o644, 0o666, 0o601])
def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    create_keyring(path)
    path.chmod(mode)
    text = refused(path)
    assert f"mode {mode:04o}" in text
    assert "chmod 600" in text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nonsense",
        "[]",
        "1",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "keys": 5}',
        '{"format": 1, "keys": [5]}',
        '{"format": 1, "keys": [{}]}',
        b"\xff\xfe{}",
        "{" * 50,
    ],
)
def test_a_file_of_something_else(path: Path, content: str | bytes) -> None:
    write(path, content)
    assert "is not a key ring" in refused(path)


def test_a_format_of_the_future(path: Path) -> None:
    write(path, json.dumps(document(path) | {"format": 2}))
    assert "format" in refused(path)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("purpose", None, "is not a key ring"),
        ("purpose", "signing", "is not a key ring"),
        ("id", None, "is not a key ring"),
        ("id", [], "is not a key ring"),
        ("id", 7, "is not a key ring"),
        ("state", None, "is not a key ring"),
        ("secret", None, "is not a key ring"),
        ("secret", 5, "is not a key ring"),
        ("secret", "not base64!", "is not a key ring"),
        ("secret", "é", "is not a key ring"),
        ("secret", "", "not 32 bytes"),
        ("secret", base64.b64encode(bytes(31)).decode(), "not 32 bytes"),
        ("state", "retired", "exactly one active pepper key"),
        ("purpose", "digest", "exactly one active pepper key"),
    ],
)
def test_a_ring_with_a_bad_key(path: Path, field: str, value: object, why: str) -> None:
    """A field that is wrong, or (None) is not there."""
    found = document(path)
    [pepper] = [key for key in found["keys"] if key["purpose"] == "pepper"]
    pepper[field] = value
    if value is None:
        del pepper[field]
    write(path, json.dumps(found))
    assert why in refused(path)


def test_two_active_keys_of_a_purpose_are_refused(path: Path) -> None:
    found = document(path)
    found["keys"].append(found["keys"][0] | {"id": "pepper-other"})
    write(path, json.dumps(found))
    assert "exactly one active pepper key" in refused(path)


def test_two_keys_of_one_id_are_refused(path: Path) -> None:
    """One of them would silently open nothing any more."""
    found = document(path)
    other = base64.b64encode(bytes(32)).decode()
    found["keys"].append(found["keys"][0] | {"secret": other})
    write(path, json.dumps(found))
    assert "more than once" in refused(path)


def test_a_key_serves_its_purpose_only() -> None:
    ring = KeyRing(
        [
            Key(Purpose.PEPPER, "same", True, b"p" * 32),
            Key(Purpose.PEPPER, "old", False, b"o" * 32),
            Key(Purpose.DIGEST, "same", True, b"d" * 32),
        ]
    )
    assert ring.active(Purpose.PEPPER).secret == b"p" * 32
    assert ring.active(Purpose.DIGEST).secret == b"d" * 32
    found = ring.find(Purpose.PEPPER, "old")
    assert found is not None
    assert (found.secret, found.active) == (b"o" * 32, False)
    assert ring.find(Purpose.DIGEST, "old") is None
    assert ring.find(Purpose.PEPPER, "") is None


def test_no_secret_in_a_repr() -> None:
    key = Key(Purpose.PEPPER, "pepper-1", True, b"TOPSECRET" * 3)
    assert "TOPSECRET" not in f"{key!r} {key} {[key]}"
