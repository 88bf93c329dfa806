"""The key ring: what its file must be, how it changes, and what never comes out of it."""

from __future__ import annotations

import base64
import errno
import json
import os
import re
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from wxauth_server.keyring import (
    Key,
    KeyRing,
    KeyRingUnusable,
    Purpose,
    State,
    changing_keyring,
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
        assert (len(key.secret), key.state) == (32, State.ACTIVE)
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


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path, 0o600)
    assert "is no regular file" in refused(path)


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
        ("state", "retired", "is not a key ring"),
        ("state", [], "is not a key ring"),
        ("purpose", "digest", "more than one active digest key"),
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
    assert "more than one active pepper key" in refused(path)


def test_two_keys_of_one_id_are_refused(path: Path) -> None:
    """One of them would silently open nothing any more."""
    found = document(path)
    other = base64.b64encode(bytes(32)).decode()
    found["keys"].append(found["keys"][0] | {"secret": other})
    write(path, json.dumps(found))
    assert "more than once" in refused(path)


def test_two_keys_of_one_id_are_refused_whatever_they_are_for(path: Path) -> None:
    """A command names a key by its id alone."""
    found = document(path)
    found["keys"][1]["id"] = found["keys"][0]["id"]
    write(path, json.dumps(found))
    assert "more than once" in refused(path)


def test_a_key_serves_its_purpose_only() -> None:
    ring = KeyRing(
        [
            Key(Purpose.PEPPER, "same", State.ACTIVE, b"p" * 32),
            Key(Purpose.PEPPER, "old", State.OLD, b"o" * 32),
            Key(Purpose.DIGEST, "same", State.ACTIVE, b"d" * 32),
        ]
    )
    assert ring.active(Purpose.PEPPER).secret == b"p" * 32
    assert ring.active(Purpose.DIGEST).secret == b"d" * 32
    found = ring.find(Purpose.PEPPER, "old")
    assert found is not None
    assert (found.secret, found.state) == (b"o" * 32, State.OLD)
    assert ring.find(Purpose.DIGEST, "old") is None
    assert ring.find(Purpose.PEPPER, "") is None


def test_no_secret_in_a_repr() -> None:
    key = Key(Purpose.PEPPER, "pepper-1", State.ACTIVE, b"TOPSECRET" * 3)
    assert "TOPSECRET" not in f"{key!r} {key} {[key]}"


# --- States -------------------------------------------------------------------


def keys_of(ring: KeyRing) -> list[tuple[str, str]]:
    return [(key.id, key.state.value) for key in ring]


SEAL_1 = Key(Purpose.SEAL, "seal-1", State.ACTIVE, b"1" * 32)
SEAL_2 = Key(Purpose.SEAL, "seal-2", State.NEW, b"2" * 32)
PEPPER = Key(Purpose.PEPPER, "pepper-1", State.ACTIVE, b"p" * 32)


def test_a_rotation_keeps_the_former_key() -> None:
    ring = KeyRing([SEAL_1, PEPPER])
    added = ring.with_key(SEAL_2)
    assert keys_of(added) == [("seal-1", "active"), ("pepper-1", "active"), ("seal-2", "new")]
    assert added.active(Purpose.SEAL) == SEAL_1
    activated = added.with_active(SEAL_2)
    assert keys_of(activated) == [("seal-1", "old"), ("pepper-1", "active"), ("seal-2", "active")]
    assert activated.find(Purpose.SEAL, "seal-1") is not None
    retired = activated.without(SEAL_1)
    assert keys_of(retired) == [("pepper-1", "active"), ("seal-2", "active")]
    assert keys_of(ring) == [("seal-1", "active"), ("pepper-1", "active")], "it never changes"


def test_a_key_that_was_replaced_can_become_active_again() -> None:
    ring = KeyRing([SEAL_1, PEPPER]).with_key(SEAL_2).with_active(SEAL_2).with_active(SEAL_1)
    assert keys_of(ring) == [("seal-1", "active"), ("pepper-1", "active"), ("seal-2", "old")]


def test_a_key_that_is_added_as_active_replaces_the_active_one() -> None:
    new = Key.create(Purpose.SEAL, State.ACTIVE)
    ring = KeyRing([SEAL_1, PEPPER]).with_key(new)
    assert keys_of(ring) == [("seal-1", "old"), ("pepper-1", "active"), (new.id, "active")]


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        ([PEPPER], "wxauth keys add seal --activate"),
        ([PEPPER, SEAL_2], "wxauth keys activate seal-2"),
        ([SEAL_1], "wxauth keys add pepper --activate"),
        ([SEAL_1, PEPPER], "wxauth keys add digest --activate"),
        ([], "wxauth keys add pepper --activate"),
    ],
)
def test_a_ring_that_lacks_a_purpose_says_what_to_run(keys: list[Key], command: str) -> None:
    with pytest.raises(KeyRingUnusable, match=command):
        KeyRing(keys).require_complete()


def test_a_ring_of_a_version_without_a_purpose_is_loaded(path: Path) -> None:
    """The commands that mend it must be able to read it."""
    found = document(path)
    found["keys"] = [key for key in found["keys"] if key["purpose"] != "seal"]
    write(path, json.dumps(found))
    ring = load_keyring(path)
    with pytest.raises(KeyRingUnusable, match="no active seal key"):
        ring.active(Purpose.SEAL)
    assert ring.active(Purpose.PEPPER).state is State.ACTIVE


def test_a_check_value_tells_two_secrets_apart() -> None:
    """Fixed: it is compared with what the database has kept since the first start."""
    # printf 'wxauth\0check value of a key' |
    #   openssl dgst -sha256 -mac HMAC -macopt hexkey:7070…70
    assert PEPPER.check_value.hex() == "79f2c48f3fcbafe1a1ee21550957e5f9"
    assert len({key.check_value for key in (SEAL_1, SEAL_2, PEPPER)}) == 3


# --- Changing the file --------------------------------------------------------


def add(path: Path, key: Key) -> None:
    with changing_keyring(path) as file:
        file.replace(file.ring.with_key(key))


def test_a_change_is_written(path: Path) -> None:
    before = create_keyring(path)
    with changing_keyring(path) as file:
        assert list(file.ring) == list(before)
        file.replace(file.ring.with_key(SEAL_2))
        file.replace(file.ring.with_active(SEAL_2))
        inside = file.ring
    assert keys_of(load_keyring(path)) == keys_of(inside)
    assert load_keyring(path).active(Purpose.SEAL).secret == SEAL_2.secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_only_the_owner_can_read_what_a_change_left(path: Path) -> None:
    create_keyring(path)
    before = os.umask(0)
    try:
        add(path, SEAL_2)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_that_is_given_up_changes_nothing(path: Path) -> None:
    create_keyring(path)
    before = path.read_bytes()
    with pytest.raises(LookupError), changing_keyring(path):
        raise LookupError
    assert path.read_bytes() == before
    add(path, SEAL_2)  # and the lock is free again


@pytest.mark.parametrize("failing", ["fsync", "fchmod", "write"])
def test_a_disk_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    create_keyring(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "write":
        # Of the new file only: its place is taken by a directory, which cannot be removed.
        (path.parent / f"{path.name}.new").mkdir()
    else:
        monkeypatch.setattr(os, failing, fail)
    with pytest.raises(KeyRingUnusable, match=f"{path} cannot be written"):
        add(path, SEAL_2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    if failing != "write":
        assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("failing", ["fsync", "fchmod"])
def test_a_ring_that_cannot_be_written_is_not_there_by_half(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(KeyRingUnusable, match=f"{path} cannot be written"):
        create_keyring(path)
    assert os.listdir(path.parent) == []


def test_what_a_crash_left_is_in_nobodys_way(path: Path) -> None:
    create_keyring(path)
    left = path.parent / f"{path.name}.new"
    left.write_bytes(b"half a ring")
    add(path, SEAL_2)
    assert load_keyring(path).find(Purpose.SEAL, "seal-2") == SEAL_2
    assert not left.exists()


def test_nothing_is_written_through_a_link_that_somebody_planted(
    path: Path, tmp_path: Path
) -> None:
    create_keyring(path)
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    (path.parent / f"{path.name}.new").symlink_to(victim)
    add(path, SEAL_2)
    assert victim.read_text() == "as it was"
    assert not path.is_symlink()


def test_a_link_stays_and_what_it_points_to_is_changed(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "ring.json"
    create_keyring(real)
    path.parent.mkdir()
    path.symlink_to(real)
    add(path, SEAL_2)
    assert path.is_symlink()
    assert load_keyring(real).find(Purpose.SEAL, "seal-2") == SEAL_2
    assert os.listdir(path.parent) == [path.name]


def test_a_ring_that_is_not_there_cannot_be_changed(path: Path) -> None:
    with pytest.raises(KeyRingUnusable, match="wxauth keys init"):
        add(path, SEAL_2)
    assert not path.parent.exists()
    path.parent.mkdir()
    for target, why in (("nowhere", "does not exist"), (path.name, "cannot be read")):
        path.symlink_to(target)
        with pytest.raises(KeyRingUnusable, match=f"{path} {why}"):
            add(path, SEAL_2)
        path.unlink()


def test_root_leaves_the_file_to_whom_it_belongs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server, which runs as that user, could not read it any more."""
    create_keyring(path)
    given: list[tuple[int, int]] = []
    if os.geteuid() == 0:
        os.chown(path, 65_534, 65_533)
    else:  # nobody else can give a file away
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    before = path.stat()
    add(path, SEAL_2)
    after = path.stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert given in ([], [(before.st_uid, before.st_gid)])
    assert given or after.st_uid == 65_534
    assert stat.S_IMODE(after.st_mode) == 0o600


def test_the_file_of_another_user_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_keyring(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(KeyRingUnusable, match="belongs to another user"):
        add(path, SEAL_2)
    assert path.read_bytes() == before


def test_of_many_changes_at_once_none_is_lost(path: Path) -> None:
    create_keyring(path)
    keys = [Key.create(Purpose.SEAL, State.NEW) for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: add(path, key), keys))
    assert {key.id for key in keys} < {key.id for key in load_keyring(path)}


def test_without_the_lock_a_change_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: what it would see if nobody waited."""
    create_keyring(path)
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    with changing_keyring(path) as file:
        add(path, SEAL_2)
        file.replace(file.ring.with_key(Key.create(Purpose.SEAL, State.NEW)))
    assert load_keyring(path).find(Purpose.SEAL, "seal-2") is None


def test_a_second_change_waits_for_the_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_keyring(path)
    waits = threading.Event()
    monkeypatch.setattr("wxauth_server.private_file.log.warning", _sets(waits))
    with ThreadPoolExecutor(1) as thread:
        with changing_keyring(path) as file:
            second = thread.submit(add, path, SEAL_2)
            assert waits.wait(10)
            file.replace(file.ring.with_key(Key.create(Purpose.SEAL, State.NEW)))
        second.result(10)
    assert len(list(load_keyring(path))) == len(Purpose) + 2


def _sets(event: threading.Event) -> Callable[..., None]:
    def said(*_: object, **__: object) -> None:
        event.set()

    return said


def test_of_many_rings_made_at_once_one_is(path: Path) -> None:
    """And whoever was told that a ring was made has the one that is there."""

    def create(_: int) -> KeyRing | None:
        try:
            return create_keyring(path)
        except KeyRingUnusable:
            return None

    with ThreadPoolExecutor(8) as threads:
        made = [ring for ring in threads.map(create, range(16)) if ring is not None]
    [ring] = made
    assert list(load_keyring(path)) == list(ring)
