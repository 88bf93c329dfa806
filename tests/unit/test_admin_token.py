"""The token of AdminService as a file."""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

import pytest

from tests.canary import CANARY
from wxauth_server.admin_token import (
    FILE_NAME,
    AdminToken,
    AdminTokenUnusable,
    read_token,
    server_token,
)


def token_in(directory: Path) -> str:
    return CANARY.keep(read_token(directory / FILE_NAME))


def test_a_token_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = server_token(tmp_path)
    finally:
        os.umask(before)
    token = token_in(tmp_path)

    assert re.fullmatch(r"wxa_[0-9A-Za-z_-]{43}", token)
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert made.is_token(token)
    assert server_token(tmp_path).is_token(token)
    assert token_in(tmp_path) == token


def test_each_directory_has_its_own(tmp_path: Path) -> None:
    tokens = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        server_token(tmp_path / name)
        tokens.add(token_in(tmp_path / name))
    assert len(tokens) == 2


@pytest.mark.parametrize(
    "other", ["", " ", "wxa_", "nonsense", "wxa_" + "a" * 43, "密码", "\udcff", "x" * 100_000]
)
def test_another_text_is_no_token(tmp_path: Path, other: str) -> None:
    assert not server_token(tmp_path).is_token(other)


def test_a_token_is_not_kept_in_memory(tmp_path: Path) -> None:
    token = CANARY.keep("wxa_" + "b" * 43)
    assert token not in repr(vars(AdminToken(token)))


def test_servers_that_start_at_once_have_the_same(tmp_path: Path) -> None:
    made: list[AdminToken] = []
    go = threading.Barrier(8)

    def start() -> None:
        go.wait(10)
        made.append(server_token(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    token = token_in(tmp_path)
    assert len(made) == 8
    assert all(each.is_token(token) for each in made)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_token_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    server_token(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    for use in (server_token, lambda directory: read_token(directory / FILE_NAME)):
        with pytest.raises(AdminTokenUnusable, match=f"mode {mode:04o}.*chmod 600") as refused:
            use(tmp_path)
        assert "wxa_" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"wxa_short",
        b"wxa_" + b"a" * 44,
        b"\xff" * 47,
        b"\0" * 47,
        b"x" * 100_000,
        b"wxc_" + b"a" * 43,
    ],
)
def test_a_file_that_holds_no_token_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(AdminTokenUnusable, match="holds no token"):
        server_token(tmp_path)
    assert path.read_bytes() == content


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME, 0o600)
    with pytest.raises(AdminTokenUnusable, match="is no regular file"):
        server_token(tmp_path)


def test_a_file_that_is_not_there_or_none(tmp_path: Path) -> None:
    with pytest.raises(AdminTokenUnusable, match="does not exist"):
        read_token(tmp_path / FILE_NAME)
    with pytest.raises(AdminTokenUnusable, match="cannot be written"):
        server_token(tmp_path / "nowhere")
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(AdminTokenUnusable, match="cannot be read"):
        server_token(tmp_path)
