"""The file of callers: who may write it, and what a change that goes wrong leaves."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wxauth_command import environment
from wxauth_server.callers.caller import Caller, CallerBook, Role
from wxauth_server.callers.callers_file import (
    FILE_NAME,
    CallersUnusable,
    changing_callers,
    load_callers,
)

ORDERS = Caller("orders", frozenset({Role.SERVICE}), 1_793_520_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / FILE_NAME


@pytest.fixture
def written(path: Path) -> Path:
    """The file with the caller orders in it."""
    path.parent.mkdir()
    add(path, ORDERS)
    return path


def named(name: str) -> Caller:
    return Caller(name, frozenset({Role.SERVICE}), 1_793_520_000_000)


def add(path: Path, caller: Caller) -> None:
    with changing_callers(path) as file:
        file.replace(file.book.with_caller(caller))


def names(path: Path) -> list[str]:
    return [caller.name for caller in load_callers(path).callers]


def refused(path: Path) -> str:
    """That neither a server nor a command uses it; what they say."""
    with pytest.raises(CallersUnusable) as read:
        load_callers(path)
    with pytest.raises(CallersUnusable), changing_callers(path):
        pass
    assert str(path) in str(read.value)
    return str(read.value)


# --- Reading --------------------------------------------------------------------


def test_a_file_that_is_not_there_names_nobody(path: Path) -> None:
    assert load_callers(path) == CallerBook()
    with pytest.raises(CallersUnusable, match=f"{path} does not exist: wxauth callers add"):
        load_callers(path, must_exist=True)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660, 0o777])
def test_a_file_that_others_can_write_is_refused(written: Path, mode: int) -> None:
    written.chmod(mode)
    text = refused(written)
    assert f"mode {mode:04o}" in text
    assert "chmod 600" in text


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644, 0o444])
def test_a_file_that_others_can_read_is_no_secret(written: Path, mode: int) -> None:
    written.chmod(mode)
    assert names(written) == ["orders"]


def test_a_file_of_something_else_stays_as_it_is(written: Path) -> None:
    written.write_bytes(b'{"format": 1, "callers": [{"name": "orders", "roles": ["root"]}]}')
    before = written.read_bytes()
    assert "callers.0.roles.0: Input should be 'gateway'" in refused(written)
    with pytest.raises(CallersUnusable):
        add(written, ORDERS)
    assert written.read_bytes() == before


def test_what_is_no_file(path: Path, tmp_path: Path) -> None:
    path.mkdir(parents=True)
    assert "Is a directory" in refused(path)
    path.rmdir()
    os.mkfifo(path)  # nobody ever writes into it: it must not be waited for
    assert "is no regular file" in refused(path)
    path.unlink()
    path.symlink_to(path)
    assert "cannot be read" in refused(path)
    (tmp_path / "file").touch()
    assert "Not a directory" in refused(tmp_path / "file" / FILE_NAME)


def test_a_file_without_an_end(written: Path) -> None:
    written.write_bytes(b" " * 5_000_000)
    assert "longer than 4194304 bytes" in refused(written)


def test_links_as_kubernetes_mounts_them(tmp_path: Path) -> None:
    """callers.json -> ..data/callers.json, and ..data -> a directory, which is exchanged."""
    for generation, name in (("..1", "orders"), ("..2", "shop")):
        (tmp_path / generation).mkdir()
        add(tmp_path / generation / FILE_NAME, named(name))
    path, data = tmp_path / FILE_NAME, tmp_path / "..data"
    data.symlink_to("..1")
    path.symlink_to("..data/" + FILE_NAME)
    assert names(path) == ["orders"]
    (tmp_path / "new").symlink_to("..2")
    (tmp_path / "new").replace(data)
    assert names(path) == ["shop"]


# --- Changing -------------------------------------------------------------------


def test_a_change_is_for_the_owner_only_and_leaves_nothing_else(path: Path) -> None:
    path.parent.mkdir()
    before = os.umask(0)
    try:
        add(path, ORDERS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [FILE_NAME]


def test_who_could_read_it_can_do_so_still(written: Path) -> None:
    """A server of another user reads it by its group, and would keep who was revoked."""
    if os.geteuid() == 0:
        os.chown(written, 0, 65_533)
    written.chmod(0o640)
    before = written.stat()
    add(written, named("shop"))
    after = written.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert names(written) == ["orders", "shop"]


def test_a_link_stays_and_what_it_points_to_is_changed(written: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(written)
    add(link, named("shop"))
    assert link.is_symlink()
    assert names(written) == ["orders", "shop"]
    assert os.listdir(written.parent) == [FILE_NAME]


def test_a_directory_that_is_not_there_is_not_made(path: Path) -> None:
    with pytest.raises(CallersUnusable, match=f"{path.parent} cannot be used: No such file"):
        add(path, ORDERS)
    assert not path.parent.exists()


def test_nothing_is_written_that_could_not_be_read(written: Path) -> None:
    before = written.read_bytes()
    many = tuple(f"host-{number}.{'x' * 200}" for number in range(20_000))
    with pytest.raises(CallersUnusable, match="would be longer"):
        add(written, Caller("many", frozenset(Role), 1, certificate_names=many))
    assert written.read_bytes() == before


@pytest.mark.parametrize("failing", ["fsync", "fchmod", "write"])
def test_a_disk_that_fails_changes_nothing(
    written: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = written.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if failing == "write":
        # Of the new file only: its place is taken by a directory, which cannot be removed.
        (written.parent / f"{FILE_NAME}.new").mkdir()
    else:
        monkeypatch.setattr(os, failing, fail)
    with pytest.raises(CallersUnusable, match=f"{written} cannot be written"):
        add(written, named("shop"))
    assert written.read_bytes() == before


# A change that kills its process just before the new file takes the place of the old one.
_KILLED = """
import os, pathlib, signal, sys
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from tests.unit.test_callers_file import add, named
add(pathlib.Path(sys.argv[1]), named("shop"))
"""


def test_a_kill_before_the_rename_keeps_the_old(written: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, written], env=environment(), timeout=30, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    left = written.with_name(FILE_NAME + ".new")
    assert b'"shop"' in left.read_bytes(), "it came that far"
    assert names(written) == ["orders"]
    add(written, named("gateway"))  # neither its lock nor what it left is in the way
    assert names(written) == ["gateway", "orders"]
    assert not left.exists()


def test_the_file_of_another_user_is_left_alone(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: written.stat().st_uid + 1)
    with pytest.raises(CallersUnusable, match="belongs to another user"):
        add(written, named("shop"))
    assert written.read_bytes() == before


# Nobody else can give a file away.
if os.geteuid() == 0:

    def test_root_leaves_the_file_to_whom_it_belongs(path: Path) -> None:
        """Or a new one to whom the directory belongs: that is who runs the server."""
        path.parent.mkdir()
        os.chown(path.parent, 65_534, 65_533)
        add(path, ORDERS)
        assert (path.stat().st_uid, path.stat().st_gid) == (65_534, 65_533)
        os.chown(path, 65_532, 65_531)
        add(path, named("shop"))
        assert (path.stat().st_uid, path.stat().st_gid) == (65_532, 65_531)
